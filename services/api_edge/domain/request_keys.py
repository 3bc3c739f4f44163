"""Keys that a client sends with one request, in headers."""

from collections.abc import Mapping

from services.api_edge.domain.errors import BadInputError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, is_provider_key

KEY_HEADERS = (
    "X-Provider-Key",
    "X-OpenAI-Key",
    "X-Anthropic-Key",
    "X-Groq-Key",
    "X-Gemini-Key",
    "X-XAI-Key",
    "X-OpenRouter-Key",
)
_SESSION_PREFIX = "lks_"


def request_key(headers: Mapping[str, str], provider: KeyService) -> tuple[KeyService, SecretText] | None:
    """Return the key for a run at `provider`, and what it is for; None when the client sent none.

    `X-Provider-Key`, else the provider's own header, else `X-OpenRouter-Key`, which can serve every provider.
    Header names in lower case. Raises BadInputError for a value that can be no key.
    """
    candidates = (
        ("x-provider-key", provider),
        (f"x-{provider.value}-key", provider),
        ("x-openrouter-key", KeyService.OPENROUTER),
    )
    for header, service in candidates:
        value = headers.get(header)
        if value is not None:
            return service, usable_key(value, header)
    return None


def usable_key(value: str, param: str) -> SecretText:
    """Return a key as it can be sent to a provider. Raises BadInputError, without the value, for others."""
    value = value.strip()
    if value.startswith(_SESSION_PREFIX):
        raise BadInputError("no_sessions_yet", param)
    key = SecretText(value)
    if not is_provider_key(key):
        raise BadInputError("wrong_value", param)
    return key
