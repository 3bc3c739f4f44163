"""Whether a provider keeps nothing of what its API is asked and answers, under its standard terms."""

from collections.abc import Mapping
from typing import Final

from shared.kernel.names import KeyService

ZERO_DATA_RETENTION: Final[Mapping[KeyService, bool]] = {
    KeyService.OPENAI: False,  # 30 days: https://platform.openai.com/docs/guides/your-data
    KeyService.ANTHROPIC: False,  # https://platform.claude.com/docs/en/manage-claude/api-and-data-retention
    KeyService.GEMINI: False,  # "for a limited period of time": https://ai.google.dev/gemini-api/docs/zdr
    KeyService.XAI: False,  # 30 days: https://docs.x.ai/developers/faq/security
}
"""As of November 2026. Whether an account has an agreement that says otherwise, nobody told us. Groq keeps
nothing but where it is needed "to protect platform reliability" (https://console.groq.com/docs/your-data),
which is neither; OpenRouter tells of each model.
"""
