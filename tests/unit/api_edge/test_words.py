"""Models, languages, callers: the edge's small rules."""

from pathlib import Path

import pytest

import services.api_edge.api
from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.identity import Caller, bearer_token, caller_from_claims
from services.api_edge.domain.language import preferred
from shared.kernel.errors import UnauthenticatedError
from shared.kernel.names import KeyService, Role

pytestmark = pytest.mark.unit

DATA = Path(services.api_edge.api.__file__).parent / "data"
CATALOGUE = Catalogue.read((DATA / "catalogue.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("gpt-4o-mini", KeyService.OPENAI, "openai/gpt-4o-mini"),
        ("openai/gpt-4o-mini", KeyService.OPENAI, "openai/gpt-4o-mini"),
        ("openai/gpt-99-unheard", KeyService.OPENAI, "openai/gpt-99-unheard"),
        ("openai/gpt-oss-120b", KeyService.GROQ, "groq/openai/gpt-oss-120b"),
        ("openrouter/deepseek/deepseek-chat:free", KeyService.OPENROUTER, None),
        ("openai/ft:gpt-4o-mini:org::id", KeyService.OPENAI, None),
        ("gateway/anything", KeyService.GATEWAY, None),
        ("gpt-99", KeyService.OPENAI, "openai/gpt-99"),
        ("o3-mini", KeyService.OPENAI, "openai/o3-mini"),
        ("o1", KeyService.OPENAI, "openai/o1"),
        ("ft:gpt-4o-mini:org::id", KeyService.OPENAI, "openai/ft:gpt-4o-mini:org::id"),
        ("text-embedding-ada-002", KeyService.OPENAI, "openai/text-embedding-ada-002"),
        ("claude-3-5-haiku-latest", KeyService.ANTHROPIC, "anthropic/claude-3-5-haiku-latest"),
        ("gemini-3-pro", KeyService.GEMINI, "gemini/gemini-3-pro"),
        ("grok-5", KeyService.XAI, "xai/grok-5"),
    ],
)
def test_a_model_is_found(name: str, provider: KeyService, model: str | None) -> None:
    found = CATALOGUE.find(name)
    assert (found.provider, found.id) == (provider, model or name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "model-99",
        "gpt-4 o",
        "ft:sk-canary-0123456789",
        *("gpt-", "claude-", "gpt-oss-120b", "gpt-neox-20b", "o10x", "o365-copilot", "text-embedding-004"),
        "o1/mini",
        "nobody/gpt-4o",
        "openai/",
        "openai/a b",
        "openai/\x00",
        "OpenAI/gpt-4o",
        "openai/é",
        "openai/sk-canary-0123456789",
    ],
)
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        CATALOGUE.find(name)
    assert (refusal.value.reason, refusal.value.param) == ("unknown_model", "model")
    with pytest.raises(BadInputError) as refusal:
        CATALOGUE.find(name, "default_model")
    assert refusal.value.param == "default_model"


def test_the_whole_catalogue_can_be_asked_for_by_its_ids() -> None:
    assert len(list(CATALOGUE)) > 20
    for model in CATALOGUE:
        assert CATALOGUE.find(model.id) == model


def test_a_bare_name_means_one_model() -> None:
    with pytest.raises(ValueError, match="share a bare name"):
        Catalogue.read(b'{"created": 1, "models": ["openai/a", "groq/a"]}')


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("it", "it"),
        ("it-CH,fr;q=0.9", "it"),
        ("de, fr;q=0.9", "en"),
        ("en;q=0.5, it;q=0.8", "it"),
        ("en, it", "en"),
        ("it;q=0, en;q=0.1", "en"),
        ("it;q=nonsense", "en"),
        ("IT", "it"),
        (";;;,,,=", "en"),
        ("it;q=nan", "en"),
    ],
)
def test_the_language_a_client_prefers(header: str | None, language: str) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_a_bearer_token_is_read(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_anything_else_is_no_bearer_token(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        bearer_token(header)


def test_claims_name_a_caller() -> None:
    assert caller_from_claims({"sub": "u"}) == Caller("u", Role.USER)
    assert caller_from_claims({"sub": "u", "role": "admin"}) == Caller("u", Role.ADMIN)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": ""},
        {"sub": 5},
        {"sub": "a\x00"},
        {"sub": "u" * 129},
        {"sub": "u", "role": "root"},
        {"sub": "u", "role": ["admin"]},
        {"sub": "u", "role": None},
    ],
)
def test_unfit_claims_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(UnauthenticatedError):
        caller_from_claims(claims)
