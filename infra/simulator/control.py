"""Reading a running simulator's counts."""

import httpx2
from pydantic import BaseModel

from infra.simulator.calls import key_digest


class Calls(BaseModel):
    """What was called since the last reset. Keys are SHA-256 hex digests, prompts the last user messages.

    `key_info`: calls of `/v1/key` and `/v1/api-key`. `by_key`, `by_status`: of chat. Refused calls count too.
    """

    chat: int
    models: int
    key_info: int
    redirected: int
    disconnected: int
    in_flight: int
    by_key: dict[str, int]
    by_prompt: dict[str, int]
    by_status: dict[str, int]
    models_by_key: dict[str, int]
    key_info_by_key: dict[str, int]

    def with_key(self, key: str) -> int:
        """Chat calls made with this key."""
        return self.by_key.get(key_digest(key), 0)

    def asked_about(self, key: str) -> int:
        """Calls made with this key that only tell about it: models lists, key endpoints."""
        digest = key_digest(key)
        return self.models_by_key.get(digest, 0) + self.key_info_by_key.get(digest, 0)


def read_calls(url: str) -> Calls:
    """The counts of the simulator at `url` (without a path)."""
    response = httpx2.get(f"{url}/_simulator/calls", trust_env=False, verify=False)
    return Calls.model_validate_json(response.raise_for_status().content)
