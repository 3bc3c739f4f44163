"""What tests of a run read at its end."""

from shared.contracts.runs import RunFailed
from tests.fakes.inference import Worker


def failure(worker: Worker) -> RunFailed:
    """Return the last word, which is a failure."""
    last = worker.audience.told[-1]
    assert isinstance(last, RunFailed)
    return last
