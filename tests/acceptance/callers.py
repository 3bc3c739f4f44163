"""Callers of the edge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2
import openai

from tests.loopback import http_client

MODEL = "openai/gpt-4o-mini"
_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Caller:
    """One user (or administrator): `http` for `/api`, `sdk` (OpenAI's own, without retries) for `/v1`."""

    user_id: str
    token: str = field(repr=False)
    http: httpx2.AsyncClient
    sdk: openai.AsyncOpenAI

    async def get(self, path: str) -> Any:
        """Return the JSON of a GET that must work."""
        return (await self.http.get(path)).raise_for_status().json()

    async def store_key(self, key: str, service: str = "openai") -> str:
        """Store a key; return the credential's id."""
        answer = await self.http.post("/api/keys", json={"service": service, "api_key": key})
        return str(answer.raise_for_status().json()["id"])

    async def ask(
        self, prompt: str, *, flow: str = "chat", model: str = MODEL, **body: Any
    ) -> httpx2.Response:
        """One plain completion over HTTP, whatever comes of it."""
        message = {"role": "user", "content": prompt}
        return await self.http.post(
            "/v1/chat/completions",
            json={"model": model, "messages": [message], **body},
            headers={"Latchkey-Flow": flow},
        )

    async def balance_micros(self) -> int:
        return int((await self.get("/api/credits"))["balance_micros"])


@asynccontextmanager
async def calling(url: str, user_id: str, token: str) -> AsyncIterator[Caller]:
    """A caller of the edge at `url`."""
    limits = httpx2.Limits(max_connections=None)
    auth = {"authorization": f"Bearer {token}"}
    async with (
        http_client(base_url=url, headers=auth, timeout=_TIMEOUT_S, limits=limits) as http,
        http_client(timeout=_TIMEOUT_S, limits=limits) as sdk_http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0, http_client=sdk_http) as sdk,
    ):
        yield Caller(user_id, token, http, sdk)


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal, of `/v1` or of `/api`."""
    body = answer.json()
    found = body.get("error", body)
    return answer.status_code, str(found["code"])


def credits_of(micros: int) -> str:
    return str(Decimal(micros) / 1_000_000)
