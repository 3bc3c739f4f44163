"""`latchkey revoke-key`, `rewrap` and `platform-keys`: keys, through the edge's admin routes."""

import argparse
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from infra.edge import Edge, edge
from infra.text_table import text_table
from shared.kernel.names import KeyService

_BATCH = 200
_COLUMNS = ("credential_id", "service", "hint", "state", "until", "reason")


def add_to(commands: Any) -> None:
    revoke = commands.add_parser("revoke-key", help="destroy a user's stored keys")
    revoke.add_argument("--user", required=True)
    services = [str(service) for service in KeyService]
    revoke.add_argument("--service", choices=services, help="only the keys for this one")
    revoke.set_defaults(run=_revoke)
    anew = commands.add_parser("rewrap", help="encrypt all stored keys with the newest master key")
    anew.set_defaults(run=_rewrap)
    platform = commands.add_parser("platform-keys", help="show the platform's keys and how they stand")
    platform.add_argument("--mend", metavar="ID", help="make this one ready again, first")
    platform.set_defaults(run=_platform_keys)


def revoke_keys(api: Edge, user: str, service: str | None) -> int:
    gone = api.call("POST", "/api/admin/keys/revoke", {"user_id": user, "service": service})["revoked"]
    whose = f"{user}'s keys" + (f" for {service}" if service else "")
    print(f"revoked {len(gone)} of {whose}")
    for credential_id in gone:
        print(f"  {credential_id}")
    return 0


def rewrap(api: Edge) -> int:
    """Return 1 when some keys stay under an older version, and a further try rewraps none."""
    done = 0
    while True:
        told = api.call("POST", "/api/admin/keys/rewrap", {"limit": _BATCH})
        done, remaining = done + told["rewrapped"], told["remaining"]
        print(f"{done} rewrapped to version {told['key_version']}, {remaining} remain", flush=True)
        if not remaining or not told["rewrapped"]:
            return 1 if remaining else 0


def show_platform_keys(api: Edge, mend: str | None) -> int:
    if mend:
        api.call("PATCH", f"/api/admin/platform-keys/{quote(mend, safe=':')}", {"state": "ready"})
        print(f"{mend} is ready")
    items = api.call("GET", "/api/admin/platform-keys")["items"]
    print(_table(items) if items else "there are no platform keys")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with edge(args.realm) as api:
        return revoke_keys(api, args.user, args.service)


def _rewrap(args: argparse.Namespace) -> int:
    with edge(args.realm) as api:
        return rewrap(api)


def _platform_keys(args: argparse.Namespace) -> int:
    with edge(args.realm) as api:
        return show_platform_keys(api, args.mend)


def _table(items: list[Mapping[str, Any]]) -> str:
    rows = [_COLUMNS, *(tuple(str(item.get(name) or "") for name in _COLUMNS) for item in items)]
    return "\n".join(text_table(rows, texts=len(_COLUMNS)))
