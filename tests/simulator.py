"""A simulator process of a test's own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from tests.gate import free_port

_READY_S = 15.0


@contextmanager
def running_simulator() -> Iterator[str]:
    """Run one for the length of the block; yield its URL without a path."""
    port = free_port()
    command = [sys.executable, "-m", "infra.simulator", "--port", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def reset_calls(url: str) -> None:
    httpx2.post(f"{url}/_simulator/reset", trust_env=False, verify=False).raise_for_status()


def _wait_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the simulator did not start at {url}")
        time.sleep(0.05)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False, verify=False).is_success
    except httpx2.TransportError:
        return False
