"""`latchkey token`: API tokens and development JWTs."""

import argparse
from typing import Any

from infra.bootstrap import Realm, mint_token
from infra.bootstrap.envfiles import read_env
from infra.bootstrap.tokens import mint_jwt, revoke_tokens_of
from infra.stack_settings import UsageError, home, setting
from shared.kernel.names import Role


def add_to(commands: Any) -> None:
    token = commands.add_parser("token", help="mint an API token (or a JWT) for the edge")
    token.add_argument("--user", required=True)
    token.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.USER))
    token.add_argument("--jwt", action="store_true", help="a development JWT, valid for an hour")
    token.set_defaults(run=_token)
    revoke = commands.add_parser("revoke-tokens", help="end all of a user's API tokens")
    revoke.add_argument("--user", required=True)
    revoke.set_defaults(run=_revoke)


def _revoke(args: argparse.Namespace) -> int:
    gone = revoke_tokens_of(setting("LATCHKEY_POSTGRES_URL"), args.user)
    print(f"revoked {gone} of {args.user}'s tokens")
    return 0


def _token(args: argparse.Namespace) -> int:
    realm = Realm(args.realm)
    if args.jwt:
        secret = read_env(home().env_files / "api_edge.env").get("LATCHKEY_AUTH__JWT_SECRET")
        if not secret:
            raise UsageError("there is no development JWT secret here; `make up` makes one")
        print(mint_jwt(secret, realm, args.user, args.role))
    else:
        url = setting("LATCHKEY_POSTGRES_URL")
        print(mint_token(url, realm, args.user, args.role, label="latchkey token"))
    return 0
