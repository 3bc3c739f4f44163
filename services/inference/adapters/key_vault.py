"""Keys from key_vault: asked for by RPC, sealed to this worker alone, opened here."""

import time
from typing import Final

from services.inference.domain.attempt import KeyUsed
from services.inference.ports import OpenedKey, ResolvedKey
from shared.contracts.resolving import KeyOpened, KeyResolved, OpenKey, ResolveKey
from shared.contracts.runs import RunRequested
from shared.contracts.sealed import SealBinding, SealedKey
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import InternalError, InvalidRequestError
from shared.kernel.names import KeyPolicy, KeySource
from shared.kernel.secret import SecretText
from shared.runtime.rpc import RpcClient
from shared.runtime.sealing import KeyPair

_ROTATE_S: Final = 3600.0


class RpcKeyVault:
    """Resolves and opens. The key pair is in memory, new every hour; a call keeps the one it began with."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._pair = KeyPair.generate()
        self._born_at = time.monotonic()

    async def resolve(
        self, request: RunRequested, attempt: int, *, excluding: tuple[str, ...], timeout_s: float
    ) -> ResolvedKey:
        pair = self._current_pair()
        query = ResolveKey(
            run_id=request.run_id,
            attempt=attempt,
            user_id=request.user_id,
            flow=request.flow,
            policy=request.policy,
            provider=request.provider,
            request_key=request.request_key,
            further_keys=request.further_keys,
            session_key=request.session_key,
            worker_public_key=pair.public_key,
            excluding=excluding,
            report_only=request.report_only,
        )
        answer = await self._rpc.call(query, KeyResolved, timeout_s=timeout_s)
        _check_policy(query, answer)
        return _open(pair, query, answer)

    async def open(self, ask: ValidateKey, *, timeout_s: float) -> OpenedKey:
        pair = self._current_pair()
        query = OpenKey(
            validation_id=ask.validation_id,
            user_id=ask.user_id,
            service=ask.service,
            sealed=ask.sealed,
            base_url=ask.base_url,
            credential_id=ask.credential_id,
            worker_public_key=pair.public_key,
        )
        answer = await self._rpc.call(query, KeyOpened, timeout_s=timeout_s)
        binding = query.answer_binding(
            service=answer.service,
            base_url=answer.base_url,
            expires_at=answer.sealed.expires_at,
        )
        return OpenedKey(answer.service, _opened(pair, answer.sealed, binding), answer.base_url)

    def _current_pair(self) -> KeyPair:
        if time.monotonic() - self._born_at > _ROTATE_S:
            self._pair, self._born_at = KeyPair.generate(), time.monotonic()
        return self._pair


def _check_policy(query: ResolveKey, answer: KeyResolved) -> None:
    """What key_vault guarantees, held here once more. Raises InternalError."""
    if answer.source.is_byok:
        return
    if answer.source is KeySource.PLATFORM and answer.base_url is not None:
        raise InternalError("a platform key was offered for a caller's address")
    if query.policy is not KeyPolicy.USER_KEY_REQUIRED:
        return
    if not query.report_only:
        raise InternalError("a platform key was offered where only the user's may be used")
    if answer.would_refuse_policy is not query.policy:
        raise InternalError("a key was offered without a word of the policy that would refuse it")


def _open(pair: KeyPair, query: ResolveKey, answer: KeyResolved) -> ResolvedKey:
    binding = query.answer_binding(
        credential_id=answer.credential_id,
        service=answer.service,
        base_url=answer.base_url,
        expires_at=answer.sealed.expires_at,
    )
    secret = _opened(pair, answer.sealed, binding)
    used = KeyUsed(
        source=answer.source,
        credential_id=answer.credential_id,
        service=answer.service,
        consent_id=answer.consent_id,
        credential_version=answer.credential_version,
        would_refuse_policy=answer.would_refuse_policy,
    )
    return ResolvedKey(secret, used, answer.base_url)


def _opened(pair: KeyPair, sealed: SealedKey, binding: SealBinding) -> SecretText:
    try:
        return pair.open(sealed, binding)
    except InvalidRequestError as error:
        raise InternalError(error.message) from None
