"""The service, wired on any parts: the real ones, or a test's."""

from dataclasses import dataclass

from services.key_vault.adapters.guard import guarding
from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.adapters.remembering import (
    Confirm,
    RememberingCipher,
    RememberingConsents,
    RememberingStore,
)
from services.key_vault.handlers.requests import RequestHandlers
from services.key_vault.ports import (
    Cipher,
    Clock,
    ConsentStore,
    CredentialStore,
    KeyEvents,
    PlatformKeys,
    PlatformMarks,
    Sealer,
    SessionCipher,
)
from services.key_vault.use_cases.entering import Entering
from services.key_vault.use_cases.issue_session import IssueSessionUseCase
from services.key_vault.use_cases.list_keys import ListKeysUseCase
from services.key_vault.use_cases.list_platform_keys import ListPlatformKeysUseCase
from services.key_vault.use_cases.mend_platform_key import MendPlatformKeyUseCase
from services.key_vault.use_cases.note_usage import NoteUsageUseCase
from services.key_vault.use_cases.open_key import OpenKeyUseCase
from services.key_vault.use_cases.platform_pools import PlatformPools
from services.key_vault.use_cases.replace_key import ReplaceKeyUseCase
from services.key_vault.use_cases.resolve_key import ResolveKeyUseCase
from services.key_vault.use_cases.revoke_key import RevokeKeyUseCase
from services.key_vault.use_cases.revoke_keys import RevokeKeysUseCase
from services.key_vault.use_cases.rewrap_keys import RewrapKeysUseCase
from services.key_vault.use_cases.sent_keys import SentKeyOpener
from services.key_vault.use_cases.show_status import ShowKeyStatusUseCase
from services.key_vault.use_cases.store_key import StoreKeyUseCase
from services.key_vault.use_cases.update_key import UpdateKeyUseCase
from services.key_vault.use_cases.user_settings import ChangeUserSettingsUseCase, GetUserSettingsUseCase


@dataclass(frozen=True)
class Service:
    """The wired service: what requests reach, and what usage events do."""

    requests: RequestHandlers
    note_usage: NoteUsageUseCase


def build(
    *,
    sealer: Sealer,
    cipher: Cipher,
    store: CredentialStore,
    consents: ConsentStore,
    platform_keys: PlatformKeys,
    marks: PlatformMarks,
    sessions: SessionCipher,
    memory: KeyMemory,
    confirm: Confirm,
    key_events: KeyEvents,
    now: Clock,
    session_ttl_s: int = 43_200,
) -> Service:
    """Wire the service on any parts: the real ones, or a test's. `memory` comes before store and cipher."""
    cipher = RememberingCipher(cipher, store, memory, confirm)
    store = RememberingStore(store, memory)
    consents = RememberingConsents(consents, memory)
    pools = PlatformPools(keys=platform_keys, marks=marks, now=now)
    entering = Entering(sealer=sealer, cipher=cipher, store=store, guarding=guarding)
    resolve = ResolveKeyUseCase(
        sealer=sealer,
        cipher=cipher,
        store=store,
        sent_keys=SentKeyOpener(sealer=sealer, sessions=sessions, guarding=guarding, now=now),
        pools=pools,
        guarding=guarding,
        now=now,
    )
    requests = RequestHandlers(
        resolve=resolve,
        store=StoreKeyUseCase(entering=entering, store=store, key_events=key_events),
        replace=ReplaceKeyUseCase(entering=entering, store=store, key_events=key_events),
        update=UpdateKeyUseCase(store=store, key_events=key_events),
        all_keys=ListKeysUseCase(store=store),
        revoke=RevokeKeyUseCase(store=store, key_events=key_events),
        revoke_all=RevokeKeysUseCase(store=store, key_events=key_events),
        settings=GetUserSettingsUseCase(consents=consents),
        change_settings=ChangeUserSettingsUseCase(consents=consents, key_events=key_events),
        status=ShowKeyStatusUseCase(store=store, consents=consents, pools=pools, remembered=memory),
        rewrap=RewrapKeysUseCase(store=store, cipher=cipher),
        issue_session=IssueSessionUseCase(
            sealer=sealer, sessions=sessions, guarding=guarding, now=now, ttl_s=session_ttl_s
        ),
        open_key=OpenKeyUseCase(sealer=sealer, cipher=cipher, store=store, guarding=guarding, now=now),
        platform_keys=ListPlatformKeysUseCase(pools=pools),
        mend=MendPlatformKeyUseCase(keys=platform_keys, marks=marks),
    )
    return Service(requests, NoteUsageUseCase(store=store, marks=marks))
