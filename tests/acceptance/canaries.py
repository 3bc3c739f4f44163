"""Canary keys: for every service, brought in every way there is."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import httpx2

from shared.kernel.names import KeyService
from tests.acceptance.callers import Caller
from tests.acceptance.worker import PUBLIC

SONG: Final = "sk-canary-"
"""How every canary begins."""
GATEWAY_URL: Final = f"https://canary{PUBLIC}/v1"
MODELS: Final = {
    KeyService.OPENAI: "openai/gpt-4o-mini",
    KeyService.ANTHROPIC: "anthropic/claude-haiku-4-5",
    KeyService.GROQ: "groq/llama-3.1-8b-instant",
    KeyService.GEMINI: "gemini/gemini-2.5-flash",
    KeyService.XAI: "xai/grok-3-mini",
    KeyService.OPENROUTER: "openrouter/meta-llama/llama-3.3-70b-instruct",
    KeyService.GATEWAY: "gateway/openai/gpt-4o-mini",
}
_HEADERS: Final = {
    KeyService.OPENAI: "X-OpenAI-Key",
    KeyService.ANTHROPIC: "X-Anthropic-Key",
    KeyService.GROQ: "X-Groq-Key",
    KeyService.GEMINI: "X-Gemini-Key",
    KeyService.XAI: "X-XAI-Key",
    KeyService.OPENROUTER: "X-OpenRouter-Key",
    KeyService.GATEWAY: "X-Gateway-Key",
}


class Way(StrEnum):
    """How a key comes in."""

    STORED = "stored"
    SESSION = "session"
    HEADER = "header"
    GATEWAY = "gateway"


@dataclass
class Canary:
    """One user's only key; `answers`: all that the edge said to them. `mark` makes the provider refuse it."""

    caller: Caller
    model_of: KeyService
    way: Way
    mark: str = ""
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    answers: list[httpx2.Response] = field(default_factory=list)

    def __post_init__(self) -> None:
        # With characters that every encoding writes in another way.
        self.key = f"{SONG}{self.mark}{secrets.token_hex(16)}+/={secrets.token_hex(4)}"

    def __str__(self) -> str:
        return f"{self.way} key for {self.model_of}"

    @property
    def key_service(self) -> KeyService:
        return KeyService.GATEWAY if self.way is Way.GATEWAY else self.model_of

    async def come_in(self) -> None:
        """Bring the key; what the user then sends with every run is in `headers`."""
        base_url = {"baseUrl": GATEWAY_URL} if self.key_service is KeyService.GATEWAY else {}
        body = {"service": self.key_service, "api_key": self.key, **base_url}
        if self.way is Way.HEADER:
            address = {"X-Gateway-Base-URL": GATEWAY_URL} if base_url else {}
            self.headers = {_HEADERS[self.key_service]: self.key, **address}
            self.answers.append(await self.caller.http.post("/api/keys/validate", json=body))
        elif self.way is Way.SESSION:
            answer = await self._post("/api/keys", {**body, "persist": "session"})
            self.headers = {"X-Provider-Key": answer.json()["session_key"]}
        else:
            await self._post("/api/keys", {**body, "label": "mine"})

    async def ask(self, prompt: str, *, stream: bool = False) -> httpx2.Response:
        """A run under the strict flow: no other key can take this one's place."""
        body = {
            "model": MODELS[self.model_of],
            "messages": [{"role": "user", "content": prompt}],
            "stream": stream,
        }
        headers = {"Latchkey-Flow": "solver", **self.headers}
        answer = await self.caller.http.post("/v1/chat/completions", json=body, headers=headers)
        self.answers.append(answer)
        return answer

    async def look(self) -> None:
        """Look at all that a user can see of keys."""
        for path in ("/api/keys", "/api/usage", "/api/providers/status", "/openrouter/status"):
            self.answers.append(await self.caller.http.get(path))

    async def _post(self, path: str, body: dict[str, object]) -> httpx2.Response:
        answer = await self.caller.http.post(path, json=body)
        self.answers.append(answer)
        return answer.raise_for_status()
