"""Numbers that are none, too large, too fine, or of another kind, where each is read."""

from typing import Final

from tests.acceptance.bad_inputs.case import ASKED, CHAT, KEYS, Case, case

_REWRAP: Final = "POST /api/admin/keys/rewrap"
_MODEL: Final = "POST /settings/model"
_LITERALS: Final = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "zeros before it": b"007",
    "hexadecimal": b"0x10",
    "a plus": b"+1",
    "no digit before the point": b".5",
    "no digit after the point": b"1.",
    "an exponent of nothing": b"1e",
    "a minus alone": b"-",
}
_FIELDS: Final = {
    "a position": (KEYS, b'{"service": "openai", "api_key": "<canary>", "position": %s}'),
    "a limit": (_REWRAP, b'{"limit": %s}'),
    "max_tokens": (_MODEL, b'{"model": "openai/gpt-4o-mini", "parameters": {"max_tokens": %s}}'),
    "temperature": (_MODEL, b'{"model": "openai/gpt-4o-mini", "parameters": {"temperature": %s}}'),
}
_VALUES: Final = {
    "a position": (b"-1", b"1000001", b"1.5", b"true", b'"1"', b"9223372036854775808", b"1" + b"0" * 5000),
    "a limit": (b"0", b"1001", b"2.5", b"true", b'"5"', b"null", b"18446744073709551616"),
    "max_tokens": (b"0", b"-1", b"1.5", b"true", b'"5"', b"10000001", b"1" + b"0" * 400),
    "temperature": (b"-0.1", b"2.1", b"1e999", b'"warm"', b'"0.5"', b"true", b"[1]"),
}
_PARAMETERS: Final = {
    "top_p above one": {"top_p": 1.1},
    "a frequency penalty below -2": {"frequency_penalty": -2.1},
    "a presence penalty above 2": {"presence_penalty": 2.1},
    "an effort there is not": {"reasoning_effort": "extreme"},
    "a parameter that is none": {"n": 2},
}
_TIMEOUTS: Final = {
    "none": b"",
    "zero": b"0",
    "less than zero": b"-1",
    "not a number": b"NaN",
    "infinity": b"inf",
    "an exponent": b"1e3",
    "hexadecimal": b"0x10",
    "underscores": b"1_0",
    "a comma": b"1,5",
    "ten years": b"315360000",
    "Arabic digits": "\u0661\u0660".encode(),
    "a unit": b"10s",
}

CASES: Final[tuple[Case, ...]] = (
    *(
        case(f"{name} in a chat", CHAT, b'{"messages": [{"role": "user"}], "seed": ' + text + b"}")
        for name, text in _LITERALS.items()
    ),
    *(
        case(f"{name} as a position", KEYS, _FIELDS["a position"][1] % text)
        for name, text in _LITERALS.items()
    ),
    *(
        case(f"{field}: {value.decode()[:24]}", _FIELDS[field][0], _FIELDS[field][1] % value)
        for field, values in _VALUES.items()
        for value in values
    ),
    *(
        case(name, _MODEL, {"model": "gpt-4o-mini", "parameters": parameters})
        for name, parameters in _PARAMETERS.items()
    ),
    *(
        case(f"a timeout: {name}", CHAT, ASKED, headers={"Latchkey-Timeout": value})
        for name, value in _TIMEOUTS.items()
    ),
    case("messages that are a huge number", CHAT, b'{"messages": 1' + b"0" * 5000 + b"}"),
)
