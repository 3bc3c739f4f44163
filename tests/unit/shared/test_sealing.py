from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.contracts.sealed import SealBinding
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText
from shared.runtime.sealing import KeyPair, seal

pytestmark = pytest.mark.unit

KEY = SecretText("sk-canary-0123456789")


def _binding(**changes: object) -> SealBinding:
    fields: dict[str, object] = {
        "purpose": "resolve",
        "user_id": "alice",
        "service": KeyService.OPENAI,
        "expires_at": datetime.now(UTC) + timedelta(seconds=30),
        "credential_id": "c1",
        "run_id": UUID(int=1),
        "attempt": 1,
        "base_url": None,
    }
    return SealBinding.model_validate({**fields, **changes})


def test_a_sealed_key_opens_for_its_holder_and_use() -> None:
    holder, binding = KeyPair.generate(), _binding()
    sealed = seal(KEY, holder.public_key, binding)
    assert "canary" not in sealed.model_dump_json()
    assert holder.open(sealed, binding) == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "mallory"},
        {"run_id": UUID(int=2)},
        {"attempt": 2},
        {"service": KeyService.XAI},
        {"credential_id": "c2"},
        {"base_url": "https://evil.example"},
        {"purpose": "store"},
    ],
)
def test_it_opens_for_no_other_use(change: dict[str, object]) -> None:
    holder, binding = KeyPair.generate(), _binding()
    sealed = seal(KEY, holder.public_key, binding)
    with pytest.raises(InvalidRequestError):
        holder.open(sealed, binding.model_copy(update=change))


def test_it_opens_for_no_other_holder_nor_after_its_expiry_nor_with_a_later_one() -> None:
    holder, binding = KeyPair.generate(), _binding()
    sealed = seal(KEY, holder.public_key, binding)
    with pytest.raises(InvalidRequestError):
        KeyPair.generate().open(sealed, binding)
    late = binding.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    with pytest.raises(InvalidRequestError, match="expired"):
        holder.open(seal(KEY, holder.public_key, late), late)
    later = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(InvalidRequestError):
        holder.open(
            sealed.model_copy(update={"expires_at": later}), binding.model_copy(update={"expires_at": later})
        )


@pytest.mark.parametrize("public_key", ["", "not base64!", "AAAA", "A" * 44])
def test_what_is_no_public_key_is_refused(public_key: str) -> None:
    with pytest.raises(InvalidRequestError):
        seal(KEY, public_key, _binding())


def test_garbage_does_not_open() -> None:
    holder, binding = KeyPair.generate(), _binding()
    sealed = seal(KEY, holder.public_key, binding)
    for garbage in ("", "####", "AAAA", sealed.ciphertext[:-8] + "AAAAAAA="):
        with pytest.raises(InvalidRequestError):
            holder.open(sealed.model_copy(update={"ciphertext": garbage}), binding)
