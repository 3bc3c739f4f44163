"""Tokens: none, no bearer's, unknown, revoked, stale, forged, of another house. `forgery.py` makes them."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, UNAUTHENTICATED, Case, case

STALE_S: Final = -60
CLAIMS: Final[dict[str, dict[str, Any]]] = {
    "expired": {"exp": STALE_S},
    "not_yet": {"nbf": 3600},
    "endless": {"exp": None},
    "nobodys": {"sub": None},
    "of_anonymous": {"sub": "anonymous"},
    "of_an_empty_name": {"sub": ""},
    "of_a_number": {"sub": 7},
    "of_a_line_end": {"sub": "admin\r\nX: y"},
    "of_a_nul": {"sub": "admin\0"},
    "of_a_long_name": {"sub": "u" * 129},
    "of_an_unknown_role": {"role": "root"},
    "of_two_roles": {"role": ["user", "admin"]},
    "of_another_issuer": {"iss": "elsewhere"},
    "without_issuer": {"iss": None},
    "for_another_audience": {"aud": "elsewhere"},
    "without_audience": {"aud": None},
    "of_an_endless_number": {"exp": float("inf")},
    "of_a_text_as_time": {"exp": "tomorrow"},
}
"""What is changed in a good token; None: left out. Times are seconds from now. Signed by the house itself."""
FORGED: Final = (
    "unsigned",
    "signed_by_another",
    "signed_by_hs512",
    "with_another_payload",
    "without_signature",
    "with_a_key_of_its_own",
    "with_critical_header",
    "of_two_parts",
    "of_six_parts",
    "of_broken_base64",
    "with_a_list_as_payload",
)
_AUTHORIZATIONS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a scheme alone": b"Bearer",
    "a scheme and spaces": b"Bearer   ",
    "another scheme": b"Basic dXNlcjpwYXNz",
    "no scheme": b"<user>",
    "an unknown API token": b"Bearer lk_" + b"x" * 43,
    "an API token's beginning": b"Bearer lk_",
    "a revoked API token": b"Bearer <revoked>",
    "a provider's key": b"Bearer <canary>",
    "a session key": b"Bearer <own_session>",
    "beyond measure": b"Bearer " + b"a" * 20_000,
    "bytes that are no text": b"Bearer \xff\xfe",
    "two tokens": b"Bearer <user> <admin>",
    "two with a comma": b"Bearer <user>,Bearer <admin>",
}
_ELSEWHERE: Final = (
    "GET /api/keys",
    "GET /api/admin/usage",
    "POST /api/councils",
    "GET /v1/models",
    "GET /system/nodes",
    "GET /openrouter/status",
)
_READ: Final = "GET /api/credits"


def _bearing(name: str, token: bytes, call: str = _READ) -> Case:
    return case(name, call, code=UNAUTHENTICATED, headers={"Authorization": token})


CASES: Final[tuple[Case, ...]] = (
    *(_bearing(name, value) for name, value in _AUTHORIZATIONS.items()),
    *(
        _bearing(f"a token {name}".replace("_", " "), b"Bearer <%s>" % name.encode())
        for name in (*CLAIMS, *FORGED)
    ),
    *(_bearing(f"a stale token, {call}", b"Bearer <expired>", call) for call in _ELSEWHERE),
    case(
        "a stale token at a run",
        CHAT,
        ASKED,
        code=UNAUTHENTICATED,
        headers={"Authorization": "Bearer <expired>"},
    ),
    case(
        "a token in the query",
        "GET /api/keys?access_token=<user>",
        code=UNAUTHENTICATED,
        headers={"Authorization": ""},
    ),
)
