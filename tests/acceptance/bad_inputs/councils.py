"""Councils that cannot be called."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import COUNCILS, FORBIDDEN, MESSAGES, MODEL, Case, case

_COUNCIL: Final = {"members": [MODEL], "messages": MESSAGES}
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "no members": {"messages": MESSAGES},
    "members that are null": {**_COUNCIL, "members": None},
    "members that are none": {**_COUNCIL, "members": []},
    "members that are a text": {**_COUNCIL, "members": MODEL},
    "members that are an object": {**_COUNCIL, "members": {MODEL: True}},
    "a member that is a list": {**_COUNCIL, "members": [[MODEL]]},
    "a member that is null": {**_COUNCIL, "members": [MODEL, None]},
    "nine members": {**_COUNCIL, "members": [MODEL] * 9},
    "a member of no provider": {**_COUNCIL, "members": [MODEL, "nobody/gpt"]},
    "a member without a name": {**_COUNCIL, "members": ["openai/"]},
    "a member that is nothing": {**_COUNCIL, "members": [""]},
    "no messages": {"members": [MODEL]},
    "empty messages": {**_COUNCIL, "messages": []},
    "messages of numbers": {**_COUNCIL, "messages": [1]},
    "a last model of no provider": {**_COUNCIL, "model": "nobody/gpt"},
    "a last model that is a list": {**_COUNCIL, "model": [MODEL]},
    "an unknown flow": {**_COUNCIL, "flow": "nowhere"},
    "a flow that is a list": {**_COUNCIL, "flow": ["chat"]},
    "a session that is true": {**_COUNCIL, "session_id": True},
    "a session that is nothing": {**_COUNCIL, "session_id": ""},
}

CASES: Final[tuple[Case, ...]] = (
    *(case(name, COUNCILS, body) for name, body in _BODIES.items()),
    case("the services' flow", COUNCILS, {**_COUNCIL, "flow": "system"}, code=FORBIDDEN),
    case("a timeout that is none", COUNCILS, _COUNCIL, headers={"Latchkey-Timeout": "0"}),
    case(
        "an unusable key for the last model",
        COUNCILS,
        {**_COUNCIL, "model": "anthropic/claude-haiku-4-5"},
        headers={"X-Anthropic-Key": "<canary> <canary>"},
    ),
    case("an unusable key beside it", COUNCILS, _COUNCIL, headers={"X-OpenAI-Key": "<canary> <canary>"}),
)
