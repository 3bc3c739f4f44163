"""A council: several models are asked the same side by side, then one makes their answers into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from services.api_edge.domain.chat import OpenAICall, chat_call, json_object, take
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.transcript import Transcript
from shared.kernel.names import KeyService, Role

MEMBERS_MAX: Final = 8
_ASK: Final = (
    "Several models were asked the same, independently of each other. Their answers follow, each after its "
    "model's name. Weigh them against each other, settle where they differ, and give one answer to what was "
    "asked above; speak as one, without a word about the others unless that was asked for."
)
_CUT: Final = "\n[cut here: the answer was too long]"
_CHARS_MAX: Final = 2_000_000
"""What one message on the bus can carry beside the rest of the chat, whatever it is made of."""


@dataclass(frozen=True, slots=True)
class CouncilCall:
    """`members`: model names. `call`: a chat, streamed; its model writes the one answer. `flow`: None leaves
    it to the header.
    """

    members: tuple[str, ...]
    flow: str | None
    session_id: str | None
    call: OpenAICall


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member said."""

    model: str
    text: str

    def cut(self, chars_max: int) -> "Answer":
        """Return it no longer than that; what is cut says so."""
        if len(self.text) <= chars_max:
            return self
        return replace(self, text=self.text[: chars_max - len(_CUT)] + _CUT)


def answer_of(model: str, transcript: Transcript) -> Answer:
    """Return what a member said: its words, else its refusal, and the tools that it would call."""
    message = transcript.message or {}
    words, calls = str(transcript.response()) or message.get("refusal"), message.get("tool_calls")
    told = (words, orjson.dumps(calls).decode() if calls else None)
    return Answer(model, "\n".join(text for text in told if text and isinstance(text, str)))


@dataclass(frozen=True, slots=True)
class CouncilMember:
    """`run_id`: None of one that was left out, since no key could serve it."""

    model: str
    service: KeyService
    run_id: UUID | None


@dataclass(frozen=True, slots=True)
class Question:
    """What a synthesis is to be asked. `body`: as in `OpenAICall`."""

    model: str | None
    flow: str | None
    role: Role
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Council:
    """`synthesis_id`: of the run that makes the members' answers into one, from the beginning on. `question`:
    None once that run was asked for, and when it is not to be.
    """

    council_id: UUID
    user_id: str
    members: tuple[CouncilMember, ...]
    synthesis_id: UUID
    created_at: datetime
    deadline: datetime
    session_id: str | None = None
    idempotency: Idempotency | None = None
    question: Question | None = None

    @property
    def run_ids(self) -> tuple[UUID, ...]:
        """Those of the members that are asked, and the synthesis' last."""
        asked = (member.run_id for member in self.members if member.run_id is not None)
        return (*asked, self.synthesis_id)


def parse_council(raw: bytes) -> CouncilCall:
    """Raise BadInputError for what is no council."""
    body = json_object(raw)
    members = _members(take(body, "members", list))
    flow, session_id = take(body, "flow", str), take(body, "session_id", str)
    body["stream"] = True
    return CouncilCall(members, flow, session_id, chat_call(body))


def with_answers(body: Mapping[str, Any], answers: Sequence[Answer], *, chars_max: int = 0) -> dict[str, Any]:
    """Return the chat in which the answers are made into one.

    `chars_max`: of the message that tells them, 0 for no limit but ours. Too long for it, each has an equal
    share.
    """
    told, room = _told(answers), min(chars_max or _CHARS_MAX, _CHARS_MAX)
    if len(told) > room:
        share = (room - len(_told([replace(answer, text="") for answer in answers]))) // len(answers)
        told = _told([answer.cut(share) for answer in answers])
    return {**body, "messages": [*body["messages"], {"role": "user", "content": told}]}


def with_shortest_answers(body: Mapping[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Return the smallest chat that must be possible, whatever these models will say."""
    return with_answers(body, [Answer(model, _CUT) for model in models])


def _told(answers: Sequence[Answer]) -> str:
    return "\n\n".join((_ASK, *(f"### {answer.model}\n{answer.text}" for answer in answers)))


def _members(names: list[Any] | None) -> tuple[str, ...]:
    if names is None:
        raise BadInputError("required", "members")
    if not all(isinstance(name, str) for name in names):
        raise BadInputError("wrong_type", "members")
    if not 0 < len(names) <= MEMBERS_MAX:
        raise BadInputError("wrong_value", "members")
    return tuple(names)
