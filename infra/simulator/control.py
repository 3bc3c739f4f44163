"""Reading a running simulator's counts, and running one: for the demo and the tests."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from pydantic import BaseModel

from infra.simulator.calls import key_digest

_READY_SECONDS = 15.0


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


def reset_calls(url: str) -> None:
    httpx2.post(f"{url}/_simulator/reset", trust_env=False, verify=False).raise_for_status()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False, verify=False).is_success
    except httpx2.TransportError:
        return False


def _wait_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the simulator did not start at {url}")
        time.sleep(0.05)


@contextmanager
def running_simulator() -> Iterator[str]:
    """A simulator process for the length of the block; yields its URL without a path."""
    port = _free_port()
    command = [sys.executable, "-m", "infra.simulator", "--port", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)
