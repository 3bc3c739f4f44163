"""What users prefer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a user has chosen. `parameters`: of OpenAI's chat; `pinned`: model ids, in the user's order."""

    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model_set_at: datetime | None = None
    pinned: tuple[str, ...] = ()
