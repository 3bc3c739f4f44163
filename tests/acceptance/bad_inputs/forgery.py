"""The tokens of `tokens.py`."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from jwt.api_jws import PyJWS

from tests.acceptance.bad_inputs.tokens import CLAIMS

_UNSIGNED: Final = b'{"alg": "none", "typ": "JWT"}'
_TIMES: Final = ("exp", "nbf")
_ANOTHER: Final = "another house's secret, of more than thirty-two bytes, and for HS512 of more than 64"


def bad_tokens(secret: str, realm: str) -> Mapping[str, str]:
    """Return each by its name: what is stale or unfit, signed with the house's own secret, and forgeries."""
    good = {"sub": "mallory", "role": "admin", "iss": realm, "aud": realm, "exp": int(time.time()) + 3600}
    unfit = {name: _signed(_changed(good, change), secret) for name, change in CLAIMS.items()}
    return {**unfit, **_forged(good, secret)}


def _changed(good: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    told = {
        name: now + value if name in _TIMES and isinstance(value, int) else value
        for name, value in change.items()
    }
    return {name: value for name, value in {**good, **told}.items() if value is not None}


def _signed(claims: object, secret: str, headers: Mapping[str, Any] | None = None, alg: str = "HS256") -> str:
    """As any JSON at all: the library would look at claims first."""
    return PyJWS().encode(json.dumps(claims).encode(), secret, alg, headers=dict(headers or {}))


def _forged(good: Mapping[str, Any], secret: str) -> dict[str, str]:
    head, payload, signature = _signed({**good, "role": "user"}, secret).split(".")
    raised = _part(json.dumps(good).encode())
    own = {"kty": "oct", "k": _part(_ANOTHER.encode()), "alg": "HS256"}
    return {
        "unsigned": f"{_part(_UNSIGNED)}.{raised}.",
        "signed_by_another": _signed(good, _ANOTHER),
        "signed_by_hs512": _signed(good, secret.ljust(64, "."), alg="HS512"),
        "with_another_payload": f"{head}.{raised}.{signature}",
        "without_signature": f"{head}.{payload}.",
        "with_a_key_of_its_own": _signed(good, _ANOTHER, {"jwk": own, "jku": "https://evil.example/jwks"}),
        "with_critical_header": _signed(good, secret, {"crit": ["urn:unknown"], "urn:unknown": True}),
        "of_two_parts": f"{head}.{payload}",
        "of_six_parts": ".".join((head, payload, signature) * 2),
        "of_broken_base64": f"{head}.{payload[:-1]}*.{signature}",
        "with_a_list_as_payload": _signed([good], secret),
    }


def _part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
