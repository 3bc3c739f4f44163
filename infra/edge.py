"""The edge's REST API as its administrator."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from infra.bootstrap import Realm, mint_token
from infra.bootstrap.http import verifying
from infra.bootstrap.tokens import revoke_token
from infra.stack_settings import UsageError, optional, setting

_TIMEOUT_S = 60.0
_USER = "latchkey-cli"


class Edge:
    """Calls of one command."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer. Raises UsageError saying what the edge said instead."""
        try:
            answer = self._http.request(method, path, json=body)
        except httpx2.HTTPError as error:
            at = self._http.base_url
            raise UsageError(f"the edge at {at} does not answer ({error}); `make up` starts it") from error
        if answer.is_error:
            raise UsageError(f"{method} {path} answered {answer.status_code}: {_told(answer)}")
        return answer.json() if answer.content else {}


@contextmanager
def edge(realm: str, token: str | None = None) -> Iterator[Edge]:
    """The edge at `LATCHKEY_URL`, with this token, else with `LATCHKEY_ADMIN_TOKEN`.

    Without any, one is minted in the database (`LATCHKEY_POSTGRES_URL`) for as long as the command
    takes: whoever may write there could have made one anyway.
    """
    url = setting("LATCHKEY_URL")
    with _token(realm, token) as bearer:
        headers = {"Authorization": f"Bearer {bearer}"}
        with httpx2.Client(
            base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False, verify=verifying(url)
        ) as http:
            yield Edge(http)


@contextmanager
def _token(realm: str, given: str | None) -> Iterator[str]:
    if known := given or optional("LATCHKEY_ADMIN_TOKEN"):
        yield known
        return
    database = setting("LATCHKEY_POSTGRES_URL")
    made = mint_token(database, Realm(realm), _USER, "admin", label="one command's")
    try:
        yield made
    finally:
        revoke_token(database, made)


def _told(answer: httpx2.Response) -> str:
    """Return a problem's code, its message, and what it says beside (RFC 9457)."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(body, dict):
        return answer.reason_phrase
    words = (body.get("code"), body.get("message") or body.get("title"), body.get("detail"))
    return ": ".join(str(word) for word in words if word) or answer.reason_phrase
