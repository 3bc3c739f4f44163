import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_TELL = """
import ctypes, resource, sys
from shared.runtime.process import harden
harden()
is_dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else 0  # PR_GET_DUMPABLE
print(resource.getrlimit(resource.RLIMIT_CORE), is_dumpable)
"""

_ALLOW = """
import resource
from shared.runtime.process import allow_many_files
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(most, 2048) if most > 0 else 2048))
allow_many_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


_LEAVE = """
import asyncio, contextlib
from shared.runtime.process import run
async def heedless():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
async def main():
    left = asyncio.create_task(heedless())
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.1)
        print("cleaned up", flush=True)
run(main)
"""


_MISCONFIGURED = """
from shared.runtime.process import run
from shared.runtime.settings import ServiceSettings
async def main():
    ServiceSettings.load()
run(main)
"""


def test_wrong_settings_are_a_line_and_no_traceback() -> None:
    env = {"LATCHKEY_AMQP_URL": "amqp://rabbitmq"}
    told = subprocess.run(
        [sys.executable, "-c", _MISCONFIGURED], capture_output=True, text=True, env=env, check=False
    )
    assert (told.returncode, told.stderr) == (1, "settings: LATCHKEY_POSTGRES_URL: missing\n")


def test_a_process_told_to_stop_cleans_up_and_ends_whatever_is_left_running() -> None:
    with subprocess.Popen([sys.executable, "-c", _LEAVE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        said, _ = process.communicate(timeout=10)
    assert (said, process.returncode) == ("cleaned up\n", 0)


def test_a_process_may_have_as_many_files_as_its_hard_limit_allows() -> None:
    told = subprocess.run([sys.executable, "-c", _ALLOW], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(2048, 2048)"


def test_a_hardened_process_leaves_no_core_and_lets_no_other_look_inside() -> None:
    told = subprocess.run([sys.executable, "-c", _TELL], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(0, 0) 0"
