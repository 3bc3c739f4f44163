"""Tokens that are none, old, or forged."""

import time
from typing import Any, Final

import jwt

from tests.acceptance.bad_inputs.case import BadInput, getting

_PATHS: Final = ("/api/keys", "/api/credits", "/v1/models")
_WRONG: Final = "not the realm's secret, though long enough for HS256"
_CLAIMS: Final[dict[str, Any]] = {"sub": "admin", "role": "admin", "exp": int(time.time()) + 3600}

_TOKENS: Final[dict[str, bytes]] = {
    "empty": b"",
    "no token": b"Bearer",
    "another scheme": b"Basic dXNlcjpwYXNz",
    "unknown API token": b"Bearer lk_" + b"x" * 43,
    "without end": b"Bearer " + b"a" * 20_000,
    "beyond ASCII": b"Bearer \xff\xfe",
    "two tokens": b"Bearer a, Bearer b",
    "unsigned": b"Bearer " + jwt.encode(_CLAIMS, "", algorithm="none").encode(),
    "signed by another": b"Bearer " + jwt.encode(_CLAIMS, _WRONG, algorithm="HS256").encode(),
    "signed by HS512": b"Bearer " + jwt.encode(_CLAIMS, _WRONG * 2, algorithm="HS512").encode(),
    "a header that is a path": b"Bearer "
    + jwt.encode(_CLAIMS, _WRONG, algorithm="HS256", headers={"kid": "../../etc/passwd"}).encode(),
    "three dots": b"Bearer ...",
    "no JSON inside": b"Bearer bm8.bm8.bm8",
}
FORGED: Final[dict[str, dict[str, Any]]] = {
    "expired": {"exp": int(time.time()) - 3600},
    "not yet good": {"nbf": int(time.time()) + 3600},
    "without an end": {"exp": None},
    "its end is a word": {"exp": "tomorrow"},
    "nobody's": {"sub": None},
    "an empty name": {"sub": ""},
    "a name with a NUL": {"sub": "a\x00b"},
    "a name without end": {"sub": "u" * 5_000},
    "a name that is a number": {"sub": 5},
    "an unknown role": {"role": "root"},
    "a role that is a list": {"role": ["admin"]},
    "another realm's audience": {"aud": "elsewhere"},
    "another realm's issuer": {"iss": "elsewhere"},
}
"""Claims that are wrong in one, to be signed with the realm's own secret."""

CASES: Final[tuple[BadInput, ...]] = tuple(
    getting(
        f"token {name}", path, 401, code="unauthenticated", headers={"Authorization": token}, who="nobody"
    )
    for name, token in _TOKENS.items()
    for path in (_PATHS if name in {"empty", "unsigned", "beyond ASCII"} else _PATHS[:1])
)
