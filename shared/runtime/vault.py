"""Vault (or OpenBao) by AppRole: hvac is synchronous, so it works in a bounded thread pool."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeVar

import hvac
import requests
from hvac import exceptions as refusals
from requests.adapters import HTTPAdapter

from shared.kernel.errors import InvalidRequestError, NotFoundError, PlatformError, VaultUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger
from shared.runtime.settings import VaultSettings
from shared.runtime.trust import authorities, has_tls

ResultT = TypeVar("ResultT")

_THREADS = 8
_TIMEOUT_S = 5
_RENEW_AT = 2 / 3
_JITTER = 0.1
_RETRY_S = 1.0
_TELL_AGAIN_S = 10.0


class VaultClient:
    """A logged-in Vault client. The token is renewed at 2/3 of its life and replaced when refused."""

    def __init__(
        self,
        addr: str,
        role_id: str,
        secret_id: SecretText,
        *,
        namespace: str | None = None,
        timeout_s: int = _TIMEOUT_S,
    ) -> None:
        self._role_id = role_id
        self._secret_id = secret_id
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="vault")
        # Without a token hvac would take an operator's, of the environment or the home.
        make = partial(hvac.Client, url=addr, token="", timeout=timeout_s, session=_session(addr))
        self._client = make(namespace=namespace)
        self._outside = make()
        self._login_lock = asyncio.Lock()
        self._trouble = ""
        self._told = "", 0.0
        self._keep_alive: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: VaultSettings, *, timeout_s: int = _TIMEOUT_S) -> Self:
        """Make a service's client from its settings."""
        return cls(
            settings.vault_addr,
            settings.vault_role_id,
            settings.vault_secret_id,
            namespace=settings.vault_namespace,
            timeout_s=timeout_s,
        )

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
        except refusals.Forbidden as error:
            self._tell(type(error).__name__)
            raise vault_unavailable() from None

    async def healthy(self) -> bool:
        """Return whether Vault answers, unsealed, and lets us in."""
        try:
            return await self.call(lambda _: _is_unsealed(self._outside))
        except PlatformError:
            return False

    async def _run(self, operation: Callable[[hvac.Client], ResultT]) -> ResultT:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, operation, self._client)
        except (refusals.VaultError, requests.RequestException, TimeoutError) as error:
            self._trouble = type(error).__name__
            typed = _typed(error)
            if isinstance(typed, VaultUnavailableError):
                self._tell(self._trouble)
            raise typed from None

    def _tell(self, trouble: str) -> None:
        """Say in the log why Vault failed: the same once in ten seconds."""
        now = asyncio.get_running_loop().time()
        told, until = self._told
        if trouble != told or now >= until:
            self._told = trouble, now + _TELL_AGAIN_S
            get_logger().warning("vault failed", reason=trouble)

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
            except (PlatformError, refusals.Forbidden):
                get_logger().warning("vault login failed", reason=self._trouble)
                life_s = 0.0
                await asyncio.sleep(_RETRY_S)

    async def _renew(self) -> float:
        answer = await self._run(lambda client: client.auth.token.renew_self())
        return float(answer["auth"]["lease_duration"])


def _is_unsealed(client: hvac.Client) -> bool:
    """Of the whole server, asked outside of its namespaces: in one, Vault does not say."""
    status = client.seal_status
    return isinstance(status, dict) and not status["sealed"]


def _typed(error: Exception) -> Exception:
    match error:
        case refusals.Forbidden():
            return error
        case refusals.InvalidPath():
            return NotFoundError("no such path in Vault")
        case refusals.InvalidRequest():
            return InvalidRequestError("Vault refused the request")
        case _:
            return vault_unavailable()


def vault_unavailable() -> VaultUnavailableError:
    return VaultUnavailableError(service="vault", retry_after_s=2)


class _TrustingAdapter(HTTPAdapter):
    """Over TLS."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=authorities(), **options)


def _session(addr: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    if has_tls(addr):
        session.mount("https://", _TrustingAdapter(pool_maxsize=_THREADS))
    else:
        session.mount("http://", HTTPAdapter(pool_maxsize=_THREADS))
    return session
