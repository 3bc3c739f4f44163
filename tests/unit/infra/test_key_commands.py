"""The operators' commands about keys, over the edge's wire."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from infra.commands.keys import revoke_keys, rewrap, show_platform_keys
from infra.edge import Edge
from infra.stack_settings import UsageError

pytestmark = pytest.mark.unit

Asked = list[tuple[str, str, Any]]
_KEY = {"credential_id": "platform:openai:0123456789ab", "service": "openai", "hint": "sk-…1f9c"}


def _edge(answers: Iterator[httpx2.Response]) -> tuple[Edge, Asked]:
    asked: Asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.raw_path.decode(), body))
        return next(answers)

    transport = httpx2.MockTransport(answer)
    return Edge(httpx2.Client(base_url="http://edge", transport=transport)), asked


def _says(*bodies: object, status: int = 200) -> Iterator[httpx2.Response]:
    return iter([httpx2.Response(status, json=body) for body in bodies])


@pytest.mark.parametrize("service", ["openai", None])
def test_revoking_tells_what_is_gone(service: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    api, asked = _edge(_says({"revoked": ["one", "two"]}))
    assert revoke_keys(api, "carol", service) == 0
    assert asked == [("POST", "/api/admin/keys/revoke", {"user_id": "carol", "service": service})]
    told = capsys.readouterr().out
    assert "revoked 2 of carol's keys" in told
    assert ("for openai" in told) == (service is not None)
    assert told.split()[-2:] == ["one", "two"]


def test_rewrapping_goes_on_until_nothing_remains(capsys: pytest.CaptureFixture[str]) -> None:
    batches = [
        {"rewrapped": 200, "remaining": 50, "key_version": 2},
        {"rewrapped": 50, "remaining": 0, "key_version": 2},
    ]
    api, asked = _edge(_says(*batches))
    assert rewrap(api) == 0
    assert asked == [("POST", "/api/admin/keys/rewrap", {"limit": 200})] * 2
    assert capsys.readouterr().out.splitlines()[-1] == "250 rewrapped to version 2, 0 remain"


def test_rewrapping_gives_up_where_nothing_moves() -> None:
    api, asked = _edge(_says({"rewrapped": 0, "remaining": 3, "key_version": 2}))
    assert rewrap(api) == 1
    assert len(asked) == 1


def test_platform_keys_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = {**_KEY, "state": "out", "reason": "user_api_key_invalid", "until": None}
    api, asked = _edge(_says({"items": [out]}))
    assert show_platform_keys(api, None) == 0
    assert asked == [("GET", "/api/admin/platform-keys", None)]
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["credential_id", "service", "hint", "state", "until", "reason"]
    assert row.split() == [_KEY["credential_id"], "openai", _KEY["hint"], "out", "user_api_key_invalid"]


def test_mending_comes_before_looking(capsys: pytest.CaptureFixture[str]) -> None:
    api, asked = _edge(_says({}, {"items": []}))
    assert show_platform_keys(api, _KEY["credential_id"]) == 0
    path = f"/api/admin/platform-keys/{_KEY['credential_id']}"
    assert asked[0] == ("PATCH", path, {"state": "ready"})
    assert "there are no platform keys" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            httpx2.Response(403, json={"code": "forbidden", "message": "no", "detail": "why"}),
            "forbidden: no: why",
        ),
        (httpx2.Response(502, text="<html>"), "502: Bad Gateway"),
        (httpx2.Response(500, json=["odd"]), "500: Internal Server Error"),
    ],
)
def test_a_refusal_is_told_in_a_line(answer: httpx2.Response, told: str) -> None:
    api, _ = _edge(iter([answer]))
    with pytest.raises(UsageError, match=told):
        api.call("GET", "/api/admin/platform-keys")


def test_an_edge_that_is_away_is_named() -> None:
    def refuse(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    away: Callable[[httpx2.Request], httpx2.Response] = refuse
    api = Edge(httpx2.Client(base_url="http://edge", transport=httpx2.MockTransport(away)))
    with pytest.raises(UsageError, match="http://edge does not answer"):
        api.call("GET", "/")
