"""What tests of a run read at its end."""

from typing import Final

from shared.contracts.runs import RunFailed
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.names import TokensSource
from tests.fakes.inference import Worker

MEASURED: Final = TokenCounts(prompt=7, completion=5, source=TokensSource.MEASURED)
"""What the provider counts in an answer."""


def only_usage(worker: Worker) -> UsageRecorded:
    [usage] = worker.usage_log.events
    return usage


def failure(worker: Worker) -> RunFailed:
    """Return the last word, which is a failure."""
    last = worker.audience.told[-1]
    assert isinstance(last, RunFailed)
    return last
