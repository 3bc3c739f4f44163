"""Keys that a test has stored at the edge."""

from typing import Any

import httpx2

CANARY = "sk-canary-0123456789abcdef"
NEXT = "sk-canary-next-0123456789"
URL = "https://llm.example/v1"


async def stored(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/keys", json={"service": "openai", "api_key": CANARY, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
