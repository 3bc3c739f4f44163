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


def test_a_hardened_process_leaves_no_core_and_lets_no_other_look_inside() -> None:
    told = subprocess.run([sys.executable, "-c", _TELL], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(0, 0) 0"
