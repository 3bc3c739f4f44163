"""`dev.env`: all that a person or a test needs to talk to the stack."""

from collections.abc import Mapping

from infra.bootstrap.envfiles import read_env, write_env
from infra.bootstrap.realm import Realm
from infra.bootstrap.step import ADMIN_FILE
from infra.bootstrap.tokens import is_token_of, mint_token
from infra.local.home import Home
from shared.kernel.names import Role

_CALLERS = {
    "LATCHKEY_USER_TOKEN": ("alice", Role.USER),
    "LATCHKEY_USER2_TOKEN": ("bob", Role.USER),
    "LATCHKEY_ADMIN_TOKEN": ("admin", Role.ADMIN),
}


def write_dev_env(home: Home, realm: Realm, *, edge_port: int, simulator_url: str | None) -> None:
    """Write `dev.env` (mode 600); tokens that still work are kept."""
    admin = read_env(home.env_files / ADMIN_FILE)
    tokens = _tokens(read_env(home.dev_env), admin["LATCHKEY_POSTGRES_URL"], realm)
    env = {
        "LATCHKEY_URL": f"http://127.0.0.1:{edge_port}",
        "LATCHKEY_USER_ID": _CALLERS["LATCHKEY_USER_TOKEN"][0],
        "LATCHKEY_USER2_ID": _CALLERS["LATCHKEY_USER2_TOKEN"][0],
        **tokens,
        **{name: value for name, value in admin.items() if name != "LATCHKEY_REALM"},
        **({"LATCHKEY_SIMULATOR_URL": simulator_url} if simulator_url else {}),
    }
    write_env(home.dev_env, env)


def _tokens(known: Mapping[str, str], postgres_url: str, realm: Realm) -> dict[str, str]:
    tokens = {}
    for name, (user, role) in _CALLERS.items():
        token = known.get(name, "")
        works = token and is_token_of(postgres_url, token, user, role)
        tokens[name] = token if works else mint_token(postgres_url, realm, user, role, label="dev.env")
    return tokens
