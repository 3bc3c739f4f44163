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


def test_a_process_may_have_as_many_files_as_its_hard_limit_allows() -> None:
    told = subprocess.run([sys.executable, "-c", _ALLOW], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(2048, 2048)"


def test_a_hardened_process_leaves_no_core_and_lets_no_other_look_inside() -> None:
    told = subprocess.run([sys.executable, "-c", _TELL], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(0, 0) 0"
