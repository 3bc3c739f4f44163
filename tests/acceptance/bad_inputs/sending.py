"""How bad input gets to the edge."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import orjson

from shared.kernel.names import API_EDGE
from tests.acceptance.bad_inputs.case import MODEL, BadInput
from tests.acceptance.callers import Caller
from tests.acceptance.house import House
from tests.loopback import http_client

_ANSWER_S = 5.0


@dataclass(frozen=True)
class Sender:
    house: House
    user: Caller
    admin: Caller
    stranger: httpx2.AsyncClient

    async def send(self, case: BadInput) -> httpx2.Response:
        if case.raw is not None:
            return await self._raw(case.raw)
        clients = {"user": self.user.http, "admin": self.admin.http, "nobody": self.stranger}
        return await clients[case.who].request(
            case.method,
            case.path,
            content=case.body,
            headers=[(b"content-type", b"application/json"), *_bytes(case.headers)],
        )

    async def ids_of_user(self) -> list[str]:
        """Ids of a key, a run and a council, all the user's."""
        keys = await self.user.get("/api/keys")
        message = {"messages": [{"role": "user", "content": "mine"}]}
        run = await self.user.http.post("/api/runs", json={"model": MODEL, **message})
        council = await self.user.http.post("/api/councils", json={"members": [MODEL], **message})
        return [keys["items"][0]["id"], run.json()["run_id"], council.json()["council_id"]]

    async def forged(self, change: Mapping[str, Any]) -> httpx2.Response:
        """Ask with a token the realm's own secret has signed, good but for the change; None leaves out."""
        name, secret = self.house.realm.name, self.house.realm.env(API_EDGE)["LATCHKEY_AUTH__JWT_SECRET"]
        good = {"sub": "forger", "role": "user", "iss": name, "aud": name, "exp": int(time.time()) + 60}
        claims = {claim: value for claim, value in {**good, **change}.items() if value is not None}
        token = jwt.api_jws.PyJWS().encode(orjson.dumps(claims), secret, algorithm="HS256")
        return await self.stranger.get("/api/keys", headers={"Authorization": f"Bearer {token}"})

    async def _raw(self, raw: bytes) -> httpx2.Response:
        """Send bytes; read to the end of the connection, which the edge closes, or for a while."""
        url = urlsplit(self.house.url)
        raw = raw.replace(b"{token}", self.user.token.encode()).replace(b"{host}", url.netloc.encode())
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(raw)
        head = await asyncio.wait_for(reader.readline(), _ANSWER_S)
        writer.close()
        return httpx2.Response(int(head.split()[1]))


@asynccontextmanager
async def sender_to(house: House) -> AsyncIterator[Sender]:
    async with http_client(base_url=house.url, timeout=30) as stranger:
        user = await house.caller()
        await user.store_key("sk-sim-good-to-the-last-0011")
        yield Sender(house, user, await house.caller("admin", "admin"), stranger)


def _bytes(headers: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value) for name, value in headers.items()]
