"""docs/frontends.md: its page, in a real browser, against the real house."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from shared.kernel.names import API_EDGE
from tests.acceptance.callers import Caller
from tests.acceptance.house import House
from tests.browser import browsing
from tests.gate import Gate, free_port, open_gate

pytestmark = pytest.mark.acceptance

PAGE = Path(__file__).parents[2] / "docs" / "frontends.md"
KEY = "sk-sim-browser-00112233"
_ANSWER_S = 40

_DRIVER = """
<script type="module">
  const orders = %s;
  const form = document.getElementById("form");
  for (const [name, value] of Object.entries(orders)) form.elements[name].value = value;
  const tell = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
  const seen = () => Object.fromEntries(["answer", "hud", "problem"].map((id) => {
    const element = document.getElementById(id);
    return [id, { text: element.textContent, ...element.dataset }];
  }));
  new MutationObserver(() => tell("/progress", seen())).observe(
    document.getElementById("answer"), { childList: true, characterData: true, subtree: true });
  new MutationObserver(() => tell("/problems", seen())).observe(
    document.getElementById("problem"), { childList: true });
  document.addEventListener("answered", () => tell("/answered", seen()));
  form.requestSubmit();
</script>
"""


@dataclass
class Site:
    """The page's own server: hands it out, and hears what it shows."""

    port: int
    orders: dict[str, str] = field(default_factory=dict)
    progress: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    problems: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    answered: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/progress", self._into(self.progress), methods=["POST"]),
                Route("/problems", self._into(self.problems), methods=["POST"]),
                Route("/answered", self._into(self.answered), methods=["POST"]),
            ]
        )

    async def _page(self, _: Request) -> Response:
        (page,) = re.findall(r"```html\n(.*?)```", PAGE.read_text(), re.DOTALL)
        return HTMLResponse(page + _DRIVER % json.dumps(self.orders))

    def _into(self, queue: asyncio.Queue[dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def heard(request: Request) -> Response:
            queue.put_nowait(await request.json())
            return Response(status_code=204)

        return heard


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(
            site.app(), port=site.port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
    )
    running = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await running


@pytest_asyncio.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    site = Site(free_port())
    async with serving(site):
        yield site


@pytest_asyncio.fixture
async def web_house(house: House, site: Site) -> AsyncIterator[House]:
    """The house, whose edge lets the site's page in; afterwards nobody's again."""
    edge = house.parts[API_EDGE]
    await edge.stop()
    await edge.start(LATCHKEY_HTTP__CORS_ORIGINS=json.dumps([site.address]))
    await house.wait_ready()
    yield house
    await edge.stop()


@pytest_asyncio.fixture
async def way(web_house: House) -> AsyncIterator[Gate]:
    async with open_gate(web_house.url) as gate:
        yield gate


async def asked(site: Site, way: Gate, house: House, caller: Caller, prompt: str) -> None:
    while not site.problems.empty():
        site.problems.get_nowait()
    site.orders = {"edge": way.before(house.url), "token": caller.token, "prompt": prompt}


async def asked_by_an_owner(site: Site, way: Gate, house: House, prompt: str) -> None:
    caller = await house.caller()
    await caller.store_key(KEY)
    await asked(site, way, house, caller, prompt)


async def test_the_page_shows_the_answer_whatever_the_connection_does(
    site: Site, web_house: House, way: Gate, tmp_path: Path
) -> None:
    await asked_by_an_owner(site, way, web_house, "[simulate chunks=60 chunk_ms=30] one two three")
    async with browsing(site.address, tmp_path), asyncio.timeout(_ANSWER_S):
        for _ in range(5):
            await site.progress.get()
        await way.close()
        await asyncio.sleep(0.5)
        await way.open()
        shown = await site.answered.get()
    words = shown["answer"]["text"].split()
    assert (len(words), words[:5]) == (60, ["Echo:", "one", "two", "three", "Echo:"])
    assert shown["answer"]["keySource"] == "user"
    assert re.fullmatch(r"\d+ in, 60 out, [\d.]+ credits; this session: [\d.]+", shown["hud"]["text"])
    assert shown["problem"]["text"] == ""
    assert web_house.calls().with_key(KEY) == 1


async def test_the_page_says_that_nobody_answers_for_as_long_as_that_is_so(
    site: Site, web_house: House, way: Gate, tmp_path: Path
) -> None:
    await asked_by_an_owner(site, way, web_house, "hello")
    await way.close()
    async with browsing(site.address, tmp_path), asyncio.timeout(_ANSWER_S):
        told = await site.problems.get()
        await way.open()
        shown = await site.answered.get()
    assert told["problem"]["text"].startswith("No answer")
    assert (shown["problem"]["text"], shown["answer"]["text"]) == ("", "Echo: hello")


async def _bad_gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a proxy says in place of an edge that is away, to every request but a browser's own."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = "204 No Content" if head.startswith(b"OPTIONS") else "502 Bad Gateway"
    writer.write(
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/html\r\n"
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: *\r\n"
        "Access-Control-Allow-Headers: authorization, content-type, idempotency-key, last-event-id\r\n"
        "\r\n".encode()
    )
    writer.close()


async def test_the_page_waits_for_an_edge_that_is_away_behind_its_proxy(
    site: Site, web_house: House, way: Gate, tmp_path: Path
) -> None:
    await asked_by_an_owner(site, way, web_house, "hello")
    await way.close()
    proxy = urlsplit(site.orders["edge"])
    async with browsing(site.address, tmp_path), asyncio.timeout(_ANSWER_S):
        async with await asyncio.start_server(_bad_gateway, proxy.hostname, proxy.port):
            while "Not now" not in (await site.problems.get())["problem"]["text"]:
                pass
        await way.open()
        shown = await site.answered.get()
    assert (shown["problem"]["text"], shown["answer"]["text"]) == ("", "Echo: hello")


async def test_the_page_shows_what_is_refused_and_where_to_mend_it(
    site: Site, web_house: House, way: Gate, tmp_path: Path
) -> None:
    caller = await web_house.caller()
    await asked(site, way, web_house, caller, "[simulate status=500] fail")
    async with browsing(site.address, tmp_path), asyncio.timeout(_ANSWER_S):
        shown = await site.answered.get()
    assert "credits" in shown["problem"]["text"]
    assert shown["problem"]["mend"]
