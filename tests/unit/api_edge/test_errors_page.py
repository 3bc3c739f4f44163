"""docs/errors.md names every code, with the status that it has; every text is there in every language."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from services.api_edge.domain.errors import (
    BadInputError,
    KeyRefusedError,
    MissingCreditsError,
    OverLimitError,
)
from services.api_edge.domain.language import LANGUAGES
from services.api_edge.domain.messages import Messages
from services.api_edge.error_schemas import ERROR_SCHEMAS
from services.api_edge.problems import RULES, Occasion, Problems
from shared.kernel.errors import InvalidRequestError, Refused
from shared.kernel.names import KeyService, KeyVerdict

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
MESSAGES = ROOT / "services/api_edge/data/messages.json"
TEXTS = orjson.loads(MESSAGES.read_bytes())


MEMBERS = [
    KeyRefusedError(KeyVerdict.EXPIRED, KeyService.OPENAI),
    MissingCreditsError(1),
    OverLimitError(),
    BadInputError("too_long", "model"),
    InvalidRequestError("too long", refused=Refused(400, "context_length_exceeded", "messages")),
]
_OF_EVERY_PROBLEM = {"type", "title", "status"}
"""RFC 9457's."""


def _listed() -> dict[str, str]:
    page = (ROOT / "docs/errors.md").read_text().partition("| code |")[2]
    return dict(re.findall(r"^\| `(\w+)` \| (\d{3})", page, re.MULTILINE))


def _told(*, is_v1: bool) -> Iterator[str]:
    problems = Problems(Messages.read(MESSAGES.read_bytes()), "https://x")
    for error in MEMBERS:
        occasion = Occasion(is_v1, "en")
        yield from problems.openai(error, occasion)["error"] if is_v1 else problems.problem(error, occasion)


def test_every_code_is_explained_with_its_status() -> None:
    assert _listed() == {code: str(rule.status) for code, rule in RULES.items()}


def test_every_member_is_explained() -> None:
    told = set(_told(is_v1=False))
    page = (ROOT / "docs/errors.md").read_text().partition("| code |")[0]
    listed = {name for row in re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE) for name in row.split(", ")}
    assert {name.strip("`") for name in listed} == told - _OF_EVERY_PROBLEM


def test_every_member_is_in_the_api_s_description() -> None:
    assert set(ERROR_SCHEMAS["Problem"]["properties"]) == set(_told(is_v1=False))
    of_openai = set(ERROR_SCHEMAS["OpenAIError"]["properties"]["error"]["properties"])
    assert of_openai == set(_told(is_v1=True))


def test_every_text_is_there_in_every_language() -> None:
    groups = [TEXTS[name] for name in ("codes", "reasons", "details")]
    assert set(TEXTS["codes"]) == set(RULES)
    for group in groups:
        for name, texts in group.items():
            assert set(texts) == set(LANGUAGES), name


def test_no_text_is_there_twice() -> None:
    def unique(members: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(members)) == len(members), members
        return dict(members)

    json.loads(MESSAGES.read_bytes(), object_pairs_hook=unique)


def test_where_one_gets_a_key_is_known_of_every_provider() -> None:
    assert set(TEXTS["help_urls"]) == {service.value for service in KeyService} - {"gateway"}
