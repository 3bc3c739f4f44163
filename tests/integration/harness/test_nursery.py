"""The nursery's children are processes like any other."""

import signal
from pathlib import Path

import pytest

from tests.nursery import nursery

pytestmark = pytest.mark.integration


async def test_each_has_its_own_words_environment_log_and_end(tmp_path: Path) -> None:
    async with nursery() as parents:
        one = await parents.bear("json.tool", "--help", env={"COLUMNS": "80"}, log=tmp_path / "one.log")
        two = await parents.bear("no_such_module", env={}, log=tmp_path / "two.log")
        three = await parents.bear("infra.simulator", "--port", "0", env={}, log=tmp_path / "three.log")
        assert len({one.pid, two.pid, three.pid}) == 3
        assert (await one.wait(), await two.wait()) == (0, 1)
        three.send_signal(signal.SIGKILL)
        assert await three.wait() == -signal.SIGKILL
        three.send_signal(signal.SIGKILL)  # is nobody any more
    assert "usage:" in (tmp_path / "one.log").read_text()
    assert "No module named" in (tmp_path / "two.log").read_text()
