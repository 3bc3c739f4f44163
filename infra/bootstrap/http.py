"""HTTP to RabbitMQ's management API and to Vault: a refusal is a `BootstrapError` without the body sent."""

import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx2

from infra.bootstrap.realm import BootstrapError, LoginRefusedError
from shared.runtime.trust import authorities, has_tls

_POLL_S = 0.1
_TIMEOUT_S = 15.0
_REFUSED_S = 5.0


class Api:
    """One server's HTTP API, for one administrator."""

    def __init__(self, part: str, client: httpx2.Client) -> None:
        self.part = part
        self._client = client

    def call(self, method: str, path: str, body: object = None, *, absent_ok: bool = False) -> Any:
        """Return the decoded answer; None for an empty one, and for a 404 when `absent_ok`.

        Raises LoginRefusedError for a 401, BootstrapError for every other refusal.
        """
        try:
            answer = self._client.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise BootstrapError(f"{self.part} does not answer: {error!r}") from error
        if answer.status_code == httpx2.codes.NOT_FOUND and absent_ok:
            return None
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise LoginRefusedError(f"{self.part} refuses the administrator's login: {_reason(answer)}")
        if answer.is_error:
            raise BootstrapError(
                f"{self.part} answered {answer.status_code} to {method} {path}: {_reason(answer)}"
            )
        return answer.json() if answer.content else None


def _reason(answer: httpx2.Response) -> str:
    try:
        body = answer.json()
    except json.JSONDecodeError:
        return answer.reason_phrase
    told = body.get("reason") or body.get("errors") or body.get("error") if isinstance(body, dict) else None
    return str(told or answer.reason_phrase)


def client(base_url: str, **options: Any) -> httpx2.Client:
    """Return a client that ignores proxy settings (these servers are near) and keeps no connection open."""
    unkept = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(
        base_url=base_url,
        timeout=_TIMEOUT_S,
        limits=unkept,
        trust_env=False,
        verify=verifying(base_url),
        **options,
    )


def verifying(url: str) -> ssl.SSLContext | bool:
    """Return whom a client of this address trusts; without TLS nobody is looked up."""
    return authorities() if has_tls(url) else False


def check_trusted(part: str, error: BaseException) -> None:
    """Raise BootstrapError when what went wrong with a part is its certificate: waiting mends none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise BootstrapError(f"{part} is not trusted: {cause.verify_message}") from error
        cause = cause.__cause__ or cause.__context__


def wait_for(
    part: str, probe: Callable[[], object], *, timeout_s: float, refused_s: float = _REFUSED_S
) -> None:
    """Call `probe` until it no longer raises. Raises BootstrapError naming the part and its last error, at
    once when it is a certificate that nobody vouches for, after `refused_s` when it is a login (a broker that
    has just started may not know it yet).
    """
    deadline = time.monotonic() + timeout_s
    refused_at: float | None = None
    while True:
        try:
            probe()
        except LoginRefusedError:
            refused_at = refused_at or time.monotonic()
            if time.monotonic() > min(deadline, refused_at + refused_s):
                raise
        except (BootstrapError, OSError) as error:
            refused_at = None
            check_trusted(part, error)
            if time.monotonic() > deadline:
                raise BootstrapError(f"{part} is not ready after {timeout_s:.0f} s: {error}") from error
        else:
            return
        time.sleep(_POLL_S)
