"""Keys that can be none, addresses that no key may go to, and keys in headers of a run."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, KEY_INVALID, KEYS, NEW_KEY, Case, case

_VALIDATE: Final = "POST /api/keys/validate"
_GATEWAY: Final = "https://gateway.example.org/v1"
_KEYS: Final[dict[str, Any]] = {
    "none": "",
    "spaces": "   ",
    "a space in it": "<canary> <canary>",
    "a line end in it": "<canary>\nX-Evil: 1",
    "a carriage return in it": "<canary>\r<canary>",
    "a NUL in it": "<canary>\0",
    "accents": "<canary>è",
    "a space of no width": "<canary>\u200b",
    "beyond measure": "<canary>" * 500,
    "a list": ["<canary>"],
    "an object": {"key": "<canary>"},
    "a number": 12345678,
    "null": None,
    "a session's": "lks_<canary>",
}
_ADDRESSES: Final = {
    "none": "",
    "ftp": "ftp://example.org/v1",
    "plain http": "http://example.org/v1",
    "a file": "file:///etc/passwd",
    "no scheme": "//example.org/v1",
    "no host": "https:///v1",
    "another port": "https://example.org:8443/v1",
    "a port that is none": "https://example.org:99999/v1",
    "an empty port": "https://example.org:/v1",
    "a user": "https://root@example.org/v1",
    "a query": "https://example.org/v1?key=1",
    "a fragment": "https://example.org/v1#x",
    "a backslash": "https://example.org\\@evil.example/v1",
    "a space": "https://example.org /v1",
    "half an IPv6 address": "https://[::1/v1",
    "the key": "https://example.org/<canary>",
    "another host's letters": "https://\u0435xample.org/v1",
}
_INSIDE: Final = ("127.0.0.1", "localhost", "169.254.169.254", "[::1]", "10.0.0.1", "2130706433", "0x7f.1")
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "no key": {"service": "openai"},
    "no service": {"api_key": "<canary>"},
    "a service that is a list": {**NEW_KEY, "service": ["openai"]},
    "a way of keeping there is not": {**NEW_KEY, "persist": "forever"},
    "a gateway without its address": {**NEW_KEY, "service": "gateway"},
    "the key as its label": {**NEW_KEY, "label": "my <canary> key"},
    "a label that is a number": {**NEW_KEY, "label": 7},
}
_HEADERS: Final[dict[str, dict[str, str | bytes]]] = {
    "a key with a space": {"X-OpenAI-Key": "<canary> <canary>"},
    "an empty key": {"X-OpenAI-Key": ""},
    "a key with accents": {"X-OpenAI-Key": "<canary>è"},
    "a key beyond measure": {"X-OpenAI-Key": "<canary>" * 400},
    "a key with a tab": {"X-Provider-Key": "<canary>\t<canary>"},
    "a gateway's key alone": {"X-Gateway-Key": "<canary>"},
    "a gateway by plain http": {"X-Gateway-Key": "<canary>", "X-Gateway-Base-URL": "http://example.org"},
    "a gateway that holds the key": {
        "X-Gateway-Key": "<canary>",
        "X-Gateway-Base-URL": "https://<canary>.org",
    },
    "a gateway with a user": {"X-Gateway-Key": "<canary>", "X-Gateway-Base-URL": "https://a:b@example.org"},
    "a session token of other letters": {"X-Provider-Key": "lks_<canary>è"},
    "a session token beyond measure": {"X-Provider-Key": "lks_" + "x" * 13_000},
}
_SESSIONS: Final = {
    "made up": "lks_<canary>",
    "nothing but its beginning": "lks_",
    "another user's": "<foreign_session>",
    "with another end": "<own_session>x",
    "cut short": "<cut_session>",
    "of another version": "lks_v9.<canary>",
}

CASES: Final[tuple[Case, ...]] = (
    *(case(f"a key: {name}", KEYS, {**NEW_KEY, "api_key": key}) for name, key in _KEYS.items()),
    *(
        case(f"validating: {name}", _VALIDATE, {**NEW_KEY, "api_key": _KEYS[name]})
        for name in ("none", "a list")
    ),
    *(
        case(f"a gateway: {name}", KEYS, {**NEW_KEY, "service": "gateway", "baseUrl": address})
        for name, address in _ADDRESSES.items()
    ),
    *(
        case(
            f"an address inside: {host}",
            KEYS,
            {**NEW_KEY, "service": "gateway", "baseUrl": f"https://{host}/v1"},
        )
        for host in _INSIDE
    ),
    *(case(name, KEYS, body) for name, body in _BODIES.items()),
    case("a key instead of another: a list", "PUT /api/keys/<own_key>", {"api_key": ["<canary>"]}),
    case("nothing to change", "PATCH /api/keys/<own_key>", {}),
    case("a status there is not", "PATCH /api/keys/<own_key>", {"status": "deleted"}),
    *(case(f"in a header: {name}", CHAT, ASKED, headers=headers) for name, headers in _HEADERS.items()),
    *(
        case(f"a session key: {name}", CHAT, ASKED, code=KEY_INVALID, headers={"X-Provider-Key": token})
        for name, token in _SESSIONS.items()
    ),
    case(
        "a key that its provider refuses",
        KEYS,
        {**NEW_KEY, "api_key": "<refused>"},
        code=KEY_INVALID,
        status=401,
    ),
)
