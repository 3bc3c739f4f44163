"""`python -m infra.bootstrap`: the step as a command; servers come from the environment."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.bootstrap import BootstrapError, Realm, Servers, bootstrap
from infra.bootstrap.platform_keys import gateway_url_from, platform_keys_from
from infra.bootstrap.unseal import root_token

_NAMES = ("LATCHKEY_AMQP_URL", "RABBITMQ_MANAGEMENT_URL", "VAULT_ADDR", "LATCHKEY_POSTGRES_URL")


def servers_from(environ: Mapping[str, str]) -> Servers:
    """Return the servers that the environment names; the token may be in `VAULT_KEYS_FILE` (see unseal).

    Raises BootstrapError listing what is missing.
    """
    missing = [name for name in _NAMES if not environ.get(name)]
    token = environ.get("VAULT_TOKEN") or root_token(environ.get("VAULT_KEYS_FILE"))
    if missing or not token:
        raise BootstrapError(f"not in the environment: {', '.join(missing or ['VAULT_TOKEN'])}")
    amqp, management, vault, postgres = (environ[name] for name in _NAMES)
    return Servers(amqp, management, vault, token, postgres, environ.get("VAULT_NAMESPACE") or None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bootstrap", description=__doc__)
    parser.add_argument("--realm", default=os.environ.get("LATCHKEY_REALM", "latchkey"))
    parser.add_argument("--out", type=Path, required=True, help="folder for <service>.env")
    parser.add_argument("--timeout", type=float, default=90, help="seconds to wait for each server")
    args = parser.parse_args()
    try:
        realm = Realm(args.realm, platform_keys_from(os.environ), gateway_url_from(os.environ))
        bootstrap(servers_from(os.environ), realm, args.out, timeout_s=args.timeout, progress=print)
    except (BootstrapError, ValueError) as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    print(f"bootstrap: realm {realm.name} is ready; env files in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
