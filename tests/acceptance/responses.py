"""What is told of a Response afterwards."""

from collections.abc import Mapping
from typing import Any

from openai.types.responses import Response

from tests.acceptance.callers import Caller
from tests.acceptance.house import House


async def receipt_of(
    house: House, caller: Caller, headers: Mapping[str, str], response: Response
) -> dict[str, Any]:
    """Return the receipt of one on the caller's own key; its one attempt has the tokens that were told."""
    assert response.usage is not None
    assert headers["latchkey-key-source"] == "user"
    receipt = await house.receipt(caller, headers["latchkey-run-id"])
    (attempt,) = receipt["attempts"]
    assert (attempt["tokens"]["prompt"], attempt["tokens"]["completion"]) == (
        response.usage.input_tokens,
        response.usage.output_tokens,
    )
    return receipt
