"""Vault (or OpenBao) by AppRole: hvac is synchronous, so it works in a bounded thread pool."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions as refusals
from requests.adapters import HTTPAdapter

from shared.kernel.errors import InvalidRequestError, NotFoundError, PlatformError, VaultUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger

ResultT = TypeVar("ResultT")

_THREADS = 8
_RENEW_AT = 2 / 3
_JITTER = 0.1
_RETRY_S = 1.0


class VaultClient:
    """A logged-in Vault client. The token is renewed at 2/3 of its life and replaced when refused."""

    def __init__(self, addr: str, role_id: str, secret_id: SecretText, *, timeout_s: int = 5) -> None:
        self._role_id = role_id
        self._secret_id = secret_id
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="vault")
        self._client = hvac.Client(url=addr, timeout=timeout_s, session=_session())
        self._login_lock = asyncio.Lock()
        self._keep_alive: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin logging in; returns at once, so that a service starts while Vault is away."""
        self._keep_alive = asyncio.create_task(self._stay_logged_in())

    async def stop(self) -> None:
        if self._keep_alive is not None:
            self._keep_alive.cancel()
            await asyncio.gather(self._keep_alive, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, operation: Callable[[hvac.Client], ResultT]) -> ResultT:
        """Run one operation.

        Raises VaultUnavailableError (away, sealed, too slow, refused even after a new login), NotFoundError
        (no such path) or InvalidRequestError (Vault refuses the input: a ciphertext of another context).
        """
        if not self._client.token:
            await self._login(self._client.token)
        token = self._client.token
        try:
            return await self._run(operation)
        except refusals.Forbidden:
            await self._login(token)
        try:
            return await self._run(operation)
        except refusals.Forbidden:
            raise vault_unavailable() from None

    async def healthy(self) -> bool:
        """Return whether Vault answers, unsealed, and lets us in."""
        try:
            return await self.call(_is_unsealed)
        except PlatformError:
            return False

    async def _run(self, operation: Callable[[hvac.Client], ResultT]) -> ResultT:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, operation, self._client)
        except refusals.Forbidden:
            raise
        except refusals.InvalidPath:
            raise NotFoundError("no such path in Vault") from None
        except refusals.InvalidRequest:
            raise InvalidRequestError("Vault refused the request") from None
        except (refusals.VaultError, requests.RequestException, TimeoutError):
            raise vault_unavailable() from None

    async def _login(self, seen: str | None) -> float:
        """Log in unless another task has replaced the token `seen`; return the new one's life in seconds."""
        async with self._login_lock:
            if self._client.token == seen:
                answer = await self._run_login()
                return float(answer["auth"]["lease_duration"])
            return 0.0

    async def _run_login(self) -> dict[str, Any]:
        def login(client: hvac.Client) -> dict[str, Any]:
            answer: dict[str, Any] = client.auth.approle.login(self._role_id, self._secret_id.reveal())
            return answer

        try:
            return await self._run(login)
        except (refusals.Forbidden, PlatformError):
            raise vault_unavailable() from None

    async def _stay_logged_in(self) -> None:
        life_s = 0.0
        while True:
            try:
                life_s = await (self._renew() if life_s else self._login(self._client.token))
                await asyncio.sleep(life_s * (_RENEW_AT + random.uniform(-_JITTER, _JITTER)))  # noqa: S311
            except (PlatformError, refusals.Forbidden) as error:
                get_logger().warning("vault login failed", reason=type(error).__name__)
                life_s = 0.0
                await asyncio.sleep(_RETRY_S)

    async def _renew(self) -> float:
        answer = await self._run(lambda client: client.auth.token.renew_self())
        return float(answer["auth"]["lease_duration"])


def _is_unsealed(client: hvac.Client) -> bool:
    status = client.seal_status
    return isinstance(status, dict) and not status["sealed"]


def vault_unavailable() -> VaultUnavailableError:
    return VaultUnavailableError(service="vault", retry_after_s=2)


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_maxsize=_THREADS))
    session.mount("https://", HTTPAdapter(pool_maxsize=_THREADS))
    return session
