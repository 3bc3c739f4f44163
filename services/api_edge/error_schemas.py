"""JSON Schemas of what the edge answers when it refuses: `problems.py` writes it."""

from collections.abc import Mapping
from typing import Any, Final

from services.api_edge.problems import RULES

_Schema = dict[str, Any]

_MEMBERS: Final[_Schema] = {
    "message": {"type": "string", "description": "In the language of Accept-Language (en, it)."},
    "code": {"type": "string", "enum": sorted(RULES)},
    "provider_code": {"type": "string", "description": "The provider's own, of a request that it refused."},
    "param": {"type": ["string", "null"], "description": "The field or header, never its value."},
    "service": {"type": ["string", "null"], "description": "Whose key it is about, or which part is away."},
    "run_id": {"type": ["string", "null"]},
    "detail": {"type": "string", "description": "More about the cause, in English."},
    "key_status": {"type": "string", "description": "Of a key that its provider refused at entry."},
    "missing": {"type": "string", "description": "Credits, as a decimal."},
    "missing_micros": {"type": "integer", "description": "The same in millionths of a credit."},
    "settings_url": {"type": "string", "description": "Where the user can mend it."},
    "help_url": {"type": "string", "description": "Where to get a key."},
    "retry_after_s": {"type": "integer"},
}

_OPENAI_MEMBERS: Final[_Schema] = {
    **{name: schema for name, schema in _MEMBERS.items() if name != "provider_code"},
    "code": {"type": "string", "description": "The provider's own, of a request that it refused."},
    "message": {"type": "string", "description": "Of a wrong request, what whoever refused it said."},
}

ERROR_SCHEMAS: Final[Mapping[str, _Schema]] = {
    "Problem": {
        "description": "An RFC 9457 problem. docs/errors.md has every code with its cause and cure.",
        "type": "object",
        "required": ["type", "title", "status", "message", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            **_MEMBERS,
        },
    },
    "OpenAIError": {
        "description": "OpenAI's error object, with our members beside its own.",
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "message", "code"],
                "properties": {"type": {"type": "string"}, **_OPENAI_MEMBERS},
            }
        },
    },
}
