"""`latchkey call`: any route of the edge, for a look or a try."""

import argparse
import json
from typing import Any

from infra.edge import edge
from infra.stack_settings import UsageError


def add_to(commands: Any) -> None:
    call = commands.add_parser("call", help="call a route of the edge's and print its answer")
    call.add_argument("--token", help="as its bearer; without one as an administrator")
    call.add_argument("method", choices=["GET", "POST", "PUT", "PATCH", "DELETE"])
    call.add_argument("path", help="e.g. /readyz")
    call.add_argument("body", nargs="?", type=_json, help="JSON")
    call.set_defaults(run=_call)


def _call(args: argparse.Namespace) -> int:
    if not args.path.startswith("/"):
        raise UsageError("a path begins with /")
    with edge(args.realm, args.token) as api:
        print(json.dumps(api.call(args.method, args.path, args.body), indent=1, ensure_ascii=False))
    return 0


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise argparse.ArgumentTypeError("the body is no JSON") from None
