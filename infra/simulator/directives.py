"""The `[simulate …]` directives of a prompt."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_BLOCK = re.compile(r"\[simulate\s+([^\]]*)\]")


class UnknownDirectiveError(ValueError):
    """The prompt asks for a misbehaviour that the simulator does not know."""


@dataclass(frozen=True, slots=True)
class Directives:
    """What one prompt asks for; the package's docstring says what each does. Times in milliseconds."""

    status: int | None = None
    retry_after: int | None = None
    latency_ms: int = 0
    first_token_ms: int = 0
    chunks: int | None = None
    chunk_ms: int = 0
    stall_after: int | None = None
    cut_after: int | None = None
    tokens: tuple[int, int] | None = None
    cache: tuple[int, int] = (0, 0)
    no_usage: bool = False
    redirect: bool = False
    garbage: bool = False
    call_tool: bool = False
    no_responses: bool = False

    @property
    def chunks_min(self) -> int:
        """Content chunks the answer must have for the directives to make sense."""
        ends = [end + 1 for end in (self.stall_after, self.cut_after) if end is not None]
        return max([self.chunks or 1, *ends])


def _status(value: str) -> int:
    status = int(value)
    if not 400 <= status <= 599:  # noqa: PLR2004
        raise ValueError(value)
    return status


def _pair(value: str) -> tuple[int, int]:
    prompt, completion = value.split(",")
    return int(prompt), int(completion)


_NUMBERS = ("retry_after", "latency_ms", "first_token_ms", "chunks", "chunk_ms", "stall_after", "cut_after")
_FLAGS = frozenset({"no_usage", "redirect", "garbage", "call_tool", "no_responses"})
_VALUES: dict[str, Callable[[str], object]] = {
    "status": _status,
    "tokens": _pair,
    "cache": _pair,
    **dict.fromkeys(_NUMBERS, int),
}


def _read(word: str) -> tuple[str, object]:
    name, equals, value = word.partition("=")
    try:
        if equals:
            return name, _VALUES[name](value)
        if name in _FLAGS:
            return name, True
    except (KeyError, ValueError):
        pass
    raise UnknownDirectiveError(f"The simulator does not understand '{word}'.")


def parse_directives(prompt: str) -> Directives:
    """The directives in `prompt`, none being the default. Raises UnknownDirectiveError."""
    if "[simulate" not in prompt:
        return Directives()
    words = (word for block in _BLOCK.findall(prompt) for word in block.split())
    return Directives(**dict(map(_read, words)))  # type: ignore[arg-type]


def without_directives(prompt: str) -> str:
    """The prompt as the model should read it."""
    return _BLOCK.sub("", prompt).strip() if "[simulate" in prompt else prompt.strip()
