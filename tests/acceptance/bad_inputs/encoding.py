"""Text that is no UTF-8, or no text; at both readers of JSON, and where paths and queries are decoded."""

from collections.abc import Callable
from typing import Final

from tests.acceptance.bad_inputs.case import CHAT, KEYS, Case, case

_CHAT: Final = b'{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "%s"}]}'
_KEY: Final = b'{"service": "openai", "api_key": "<canary>", "label": "%s"}'
_STRINGS: Final = {
    "a byte that begins nothing": b"\x80",
    "a sequence cut short": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate in UTF-8": b"\xed\xa0\x80",
    "a pair of surrogates in UTF-8 (CESU-8)": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "a byte that UTF-8 never has": b"\xff",
    "Latin-1": "è".encode("latin-1"),
    "a NUL as it is": b"\x00",
    "a line end as it is": b"\n",
    "an escape sequence of terminals": b"\x1b[31m",
    "a lone high surrogate": rb"\ud800",
    "a lone low surrogate": rb"\udc00",
    "surrogates in the wrong order": rb"\udc00\ud800",
    "a high surrogate before another escape": rb"\ud800\u0041",
    "an escape cut short": rb"\u00",
    "an escape of no digits": rb"\uzzzz",
    "an escape JSON does not know": rb"\x41",
}
_WHOLE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "UTF-16 without its mark": lambda text: text.decode().encode("utf-16-be"),
    "UTF-32": lambda text: text.decode().encode("utf-32"),
    "UTF-7": lambda text: text.decode().replace('"', "+ACI-").encode(),
    "NULs before it": lambda text: b"\x00\x00" + text,
    "a NUL after it": lambda text: text + b"\x00",
}
_READERS: Final = {CHAT: _CHAT, KEYS: _KEY}

CASES: Final[tuple[Case, ...]] = (
    *(
        case(f"{name}, {call}", call, text % evil)
        for call, text in _READERS.items()
        for name, evil in _STRINGS.items()
    ),
    *(
        case(f"{name}, {call}", call, write(text % b"hello"))
        for call, text in _READERS.items()
        for name, write in _WHOLE.items()
    ),
    case("broken UTF-8 in a member's name", CHAT, b'{"\xff": 1, "messages": [{"role": "user"}]}'),
    case("a surrogate in a member's name", CHAT, rb'{"\ud800": 1, "messages": [{"role": "user"}]}'),
    case("broken UTF-8 in a model's name in a path", "GET /v1/models/%ff"),
    case("broken UTF-8 in a run's id", "GET /api/runs/%c0%af/receipt"),
    case("broken UTF-8 in a user's id", "GET /api/admin/credits/%ff"),
    case("a NUL in a user's id", "GET /api/admin/credits/a%00b"),
    case("broken UTF-8 in a priced model", "GET /api/admin/prices/openai/%ff"),
    case("broken UTF-8 in a query's text", "GET /api/models?q=%ff"),
    case("a surrogate in a query's text", "GET /api/models?q=%ed%a0%80"),
    case("broken UTF-8 in a query's name", "GET /api/models?%ff=1"),
    case("broken UTF-8 in a filter", "GET /api/usage?model=%e2%82"),
    case("broken UTF-8 in a session's name", "GET /api/runs?session_id=%ff"),
)
