"""Usage events in, in batches: each is acknowledged when what its run found of a key is noted."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from services.key_vault.use_cases.note_usage import Noted
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import InvalidRequestError
from shared.kernel.isolation import isolating, past_refusals
from shared.kernel.names import INFERENCE, Outcome
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.postgres import until_back


def has_failed(delivery: Delivery) -> bool:
    """Say whether an attempt failed: a platform key may be to blame, and is marked before the next run."""
    try:
        return delivery.envelope.data.get("outcome") == Outcome.FAILED
    except InvalidRequestError:
        return False


class UsageHandler:
    """The events of `key_vault.usage`: what runs found of the keys they used."""

    def __init__(
        self, note: Callable[[Sequence[UsageRecorded]], Awaitable[Noted]], *, retry_s: float
    ) -> None:
        self._note_all = note
        self._retry_s = retry_s

    async def on_batch(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        """Return when what can be noted is; say of each other event why it never can be."""
        read = [delivery.read_or_refusal(UsageRecorded, senders=(INFERENCE,)) for delivery in deliveries]
        return await past_refusals(read, partial(isolating, handle=self._note))

    async def _note(self, batch: Sequence[UsageRecorded]) -> list[None]:
        noted = await until_back(
            lambda: self._note_all(batch), retry_s=self._retry_s, what="usage", events=len(batch)
        )
        _log(noted)
        return [None] * len(batch)


def _log(noted: Noted) -> None:
    for mark in noted.marks:
        get_logger().warning(
            "platform key failed",
            credential_id=mark.credential_id,
            state=mark.state,
            until=mark.until.isoformat() if mark.until else None,
            code=mark.reason,
        )
    if noted.uses:
        get_logger().info("key uses noted", uses=len(noted.uses))
