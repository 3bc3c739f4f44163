"""One caller of the edge: the REST API and, for runs, the official `openai` SDK."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk, ChatCompletionUserMessageParam

from infra.demo.answers import Balance, Deduction, Grant, Receipt, StoredKey
from infra.demo.checks import StoryError, check

MODEL = "openai/gpt-4o-mini"
_TIMEOUT_S = 60.0
_RECEIPT_SECONDS = 20.0


@dataclass(frozen=True)
class Run:
    """A run as its client saw it. Times in seconds since the request was sent."""

    run_id: str
    key_source: str
    text: str
    pieces: int
    first_piece_s: float
    last_piece_s: float


@dataclass(frozen=True)
class Refusal:
    """A run that was refused."""

    status: int
    code: str
    message: str
    run_id: str


class Caller:
    """A user, an administrator or a service at the edge."""

    def __init__(self, http: httpx2.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
        self._http = http
        self._sdk = sdk

    async def store_key(self, service: str, api_key: str) -> StoredKey:
        body = {"service": service, "api_key": api_key, "label": "the demo's"}
        return StoredKey.model_validate_json(await self._call("POST", "/api/keys", 201, body))

    async def grant(self, user_id: str, credits: Decimal, idempotency_key: str) -> Grant:  # noqa: A002
        body = {"user_id": user_id, "credits": str(credits), "idempotency_key": idempotency_key}
        return Grant.model_validate_json(await self._call("POST", "/api/admin/credits/grants", 201, body))

    async def balance(self) -> Balance:
        return Balance.model_validate_json(await self._call("GET", "/api/credits", 200))

    async def receipt(self, run_id: str) -> Receipt:
        """The receipt, once the run's usage is in it. Raises StoryError when it does not come in time."""
        deadline = time.monotonic() + _RECEIPT_SECONDS
        while True:
            found = Receipt.model_validate_json(await self._call("GET", f"/api/runs/{run_id}/receipt", 200))
            if found.attempts:
                return found
            check(time.monotonic() < deadline, f"run {run_id} has no receipt after {_RECEIPT_SECONDS:.0f} s")
            await asyncio.sleep(0.1)

    async def deduct(self, run_id: str) -> Deduction:
        """What a frontend asks that used to deduct by itself."""
        body = {"run_id": run_id}
        return Deduction.model_validate_json(await self._call("POST", "/api/user/deduct-credits", 200, body))

    async def streamed_run(self, prompt: str, *, flow: str, heard: Callable[[str], None]) -> Run:
        """A streamed completion; `heard` gets each piece as it arrives."""
        start = time.monotonic()
        response = await self._sdk.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=_said(prompt),
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"Latchkey-Flow": flow},
        )
        pieces: list[tuple[float, str]] = []
        async for chunk in response.parse():
            if text := _text_of(chunk):
                pieces.append((time.monotonic() - start, text))
                heard(text)
        check(bool(pieces), "the stream held no text")
        return _run(response.headers, [text for _, text in pieces], pieces[0][0], pieces[-1][0])

    async def plain_run(self, prompt: str, *, flow: str) -> Run:
        start = time.monotonic()
        response = await self._sdk.chat.completions.with_raw_response.create(
            model=MODEL, messages=_said(prompt), extra_headers={"Latchkey-Flow": flow}
        )
        text = response.parse().choices[0].message.content or ""
        took = time.monotonic() - start
        return _run(response.headers, [text], took, took)

    async def refused_run(self, prompt: str, *, flow: str) -> Refusal:
        """A run that must be refused. Raises StoryError when it is answered."""
        try:
            await self.plain_run(prompt, flow=flow)
        except openai.APIStatusError as error:
            return _refusal(error)
        raise StoryError(f"the flow {flow} answered, though it should have refused")

    async def _call(self, method: str, path: str, status: int, body: object = None) -> bytes:
        answer = await self._http.request(method, path, json=body)
        check(
            answer.status_code == status,
            f"{method} {path} answered {answer.status_code}: {answer.text[:500]}",
        )
        return answer.content


@asynccontextmanager
async def caller(url: str, token: str) -> AsyncIterator[Caller]:
    """A caller of the edge at `url` with an API token or a JWT."""
    async with (
        httpx2.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        ) as http,
        openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=token,
            max_retries=0,
            http_client=httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False),
        ) as sdk,
    ):
        yield Caller(http, sdk)


def _said(prompt: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": prompt}]


def _text_of(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _refusal(error: openai.APIStatusError) -> Refusal:
    body = error.body if isinstance(error.body, dict) else {}
    check("message" in body and "code" in body, f"the refusal is no OpenAI error object: {error.body}")
    check(bool(body.get("run_id")), f"the refusal tells no run_id: {error.body}")
    return Refusal(error.status_code, str(body["code"]), str(body["message"]), str(body["run_id"]))


def _run(headers: httpx2.Headers, pieces: list[str], first_s: float, last_s: float) -> Run:
    run_id, source = headers.get("latchkey-run-id"), headers.get("latchkey-key-source")
    if run_id is None or source is None:
        raise StoryError("the answer has no Latchkey-Run-Id or no Latchkey-Key-Source header")
    return Run(run_id, source, "".join(pieces), len(pieces), first_s, last_s)
