"""What a client says of its account at OpenAI."""

import pytest

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.openai_headers import openai_headers

pytestmark = pytest.mark.unit


def test_the_accounts_headers_are_taken_and_no_others() -> None:
    sent = {"openai-organization": " org-1 ", "openai-project": "", "openai-beta": "a=v2", "x-other": "x"}
    assert openai_headers(sent) == {"openai-organization": "org-1", "openai-beta": "a=v2"}


@pytest.mark.parametrize("value", ["x" * 201, "a\tb", "é", "sk-canary-0123456789"])
def test_what_is_no_name_of_an_account_is_refused(value: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        openai_headers({"openai-project": value})
    assert (refusal.value.reason, refusal.value.param) == ("wrong_value", "openai-project")
