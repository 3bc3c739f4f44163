"""What is no JSON object, or none that can be borne, at both readers of JSON; members that are read."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import (
    ASKED,
    CHAT,
    COUNCILS,
    GRANTS,
    INVALID,
    KEYS,
    MESSAGES,
    MODEL,
    RUNS,
    Case,
    case,
)

_RESPONSES: Final = "POST /v1/responses"
_EMBEDDINGS: Final = "POST /v1/embeddings"
_WHOLE: Final = {
    "nothing": b"",
    "spaces": b" \t\r\n",
    "a list": b'[{"service": "openai"}]',
    "a text": b'"hello"',
    "a number": b"7",
    "true": b"true",
    "null": b"null",
    "cut short": b'{"model": "openai/gpt-4o-mini", "messages": [',
    "a second document": b'{"service": "openai"}{"service": "openai"}',
    "something after it": b'{"service": "openai"} <canary>',
    "a comma too many": b'{"service": "openai",}',
    "a comment": b'{"service": "openai" /* <canary> */}',
    "single quotes": b"{'service': 'openai'}",
    "names without quotes": b'{service: "openai"}',
    "lists without end": b'{"messages":' + b"[" * 100_000,
    "objects without end": b'{"a":' * 100_000,
    "lists that do end": b'{"messages":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "brackets that do not match": b'{"messages": [}]',
}
_MEMBERS: Final[dict[str, dict[str, Any]]] = {
    CHAT: {
        "no messages": {"model": MODEL},
        "empty messages": {"model": MODEL, "messages": []},
        "messages that are a text": {"model": MODEL, "messages": "hello"},
        "messages that are an object": {"model": MODEL, "messages": {"0": MESSAGES[0]}},
        "messages of texts": {"model": MODEL, "messages": ["hello"]},
        "a null among messages": {"model": MODEL, "messages": [*MESSAGES, None]},
        "a model that is a number": {"model": 7, "messages": MESSAGES},
        "a model that is a list": {"model": [MODEL], "messages": MESSAGES},
        "stream that is a text": {**ASKED, "stream": "yes"},
        "stream that is a number": {**ASKED, "stream": 1},
        "stream options that are a list": {**ASKED, "stream_options": []},
    },
    _RESPONSES: {
        "no input": {"model": MODEL},
        "an input that is a number": {"model": MODEL, "input": 7},
        "an input that is an object": {"model": MODEL, "input": {"role": "user"}},
        "a model that is an object": {"model": {"id": MODEL}, "input": "hello"},
        "stream that is an object": {"model": MODEL, "input": "hello", "stream": {}},
    },
    _EMBEDDINGS: {
        "no model": {"input": "hello"},
        "no input": {"model": "openai/text-embedding-3-small"},
        "an input that is true": {"model": "openai/text-embedding-3-small", "input": True},
    },
    RUNS: {
        "an unknown kind": {**ASKED, "kind": "video"},
        "a kind that is for chats alone": {**ASKED, "kind": "chat"},
        "a kind that is a list": {**ASKED, "kind": ["text"]},
        "a flow that is a number": {**ASKED, "flow": 1},
        "an unknown flow": {**ASKED, "flow": "no such flow"},
        "a session that is an object": {**ASKED, "session_id": {}},
        "no messages": {"kind": "text", "model": MODEL},
    },
}
_UNKNOWN: Final = {
    "no model of any provider": "model-none",
    "an unknown provider": "nobody/gpt",
    "a model without a name": "openai/",
    "a provider in capitals": "OpenAI/gpt-4o-mini",
    "a model that climbs out of its path": "openai/../../admin?x=1",
}
_TWICE: Final = {
    KEYS: b'{"service": "openai", "api_key": "<canary>", "service": "groq"}',
    "POST /api/user-settings": b'{"allowPlatformFallback": false, "allowPlatformFallback": true}',
    GRANTS: b'{"user_id": "u", "credits": 1, "credits": 1000000, "idempotency_key": "k"}',
    "PUT /api/admin/prices/openai/gpt-4o-mini": b'{"input_usd": {"usd": 1, "usd": 2}, "output_usd": 1}',
    CHAT: b'{"messages": [{"role": "user", "content": "x"}], "messages": 7}',
    COUNCILS: b'{"members": ["openai/gpt-4o-mini"], "messages": [{}], "members": []}',
}

CASES: Final[tuple[Case, ...]] = (
    *(case(f"{name}, {call}", call, body) for call in (CHAT, KEYS) for name, body in _WHOLE.items()),
    *(
        case(f"{name}, {call}", call, body)
        for call, bodies in _MEMBERS.items()
        for name, body in bodies.items()
    ),
    *(
        case(f"{name}, {call}", call, {**ASKED, "model": model}, code=code, status=status)
        for call, code, status in ((CHAT, "model_not_found", 404), (RUNS, INVALID, 422))
        for name, model in _UNKNOWN.items()
    ),
    *(case(f"a member twice, {call}", call, body) for call, body in _TWICE.items()),
    case("deep inside a message", CHAT, b'{"messages": [{"content": ' + b"[" * 70 + b"]" * 70 + b"}]}"),
    case("deep inside an input", _RESPONSES, b'{"input": ' + b'[{"a":' * 40 + b"1" + b"}]" * 40 + b"}"),
)
