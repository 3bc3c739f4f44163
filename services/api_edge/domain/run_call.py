"""`POST /api/runs`: what kind of answer is wanted, and for the rest a chat request as OpenAI has it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from services.api_edge.domain.chat import OpenAICall, chat_call, json_object, take
from services.api_edge.domain.errors import BadInputError

_JSON_OBJECT: Final = {"type": "json_object"}


class RunKind(StrEnum):
    """`chat`: an answer in OpenAI's own form. The others are the runs API's: a text, a JSON object (or an
    error, never half of one), a text in pieces as it comes.
    """

    CHAT = "chat"
    TEXT = "text"
    JSON = "json"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class RunCall:
    """`flow`: None leaves it to the header."""

    kind: RunKind
    flow: str | None
    session_id: str | None
    call: OpenAICall


def parse_run(raw: bytes) -> RunCall:
    """Raise BadInputError for what is no run of ours."""
    body = json_object(raw)
    kind = _kind(take(body, "kind", str))
    flow, session_id = take(body, "flow", str), take(body, "session_id", str)
    body["stream"] = kind is RunKind.STREAM
    if kind is RunKind.JSON and body.get("response_format") is None:
        body["response_format"] = dict(_JSON_OBJECT)
    return RunCall(kind, flow, session_id, chat_call(body))


def _kind(name: Any) -> RunKind:
    if name is None:
        return RunKind.TEXT
    if name not in tuple(RunKind) or name == RunKind.CHAT:
        raise BadInputError("wrong_value", "kind")
    return RunKind(name)
