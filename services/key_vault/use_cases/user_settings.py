"""A user's consent to what is not their own key: shown, and decided anew."""

from services.key_vault.domain.credentials import Consent
from services.key_vault.ports import ConsentStore, KeyEvents
from shared.contracts.consent import ChangeUserSettings, GetUserSettings, UserSettings
from shared.contracts.key_events import ConsentChanged


class GetUserSettingsUseCase:
    def __init__(self, *, consents: ConsentStore) -> None:
        self._consents = consents

    async def __call__(self, query: GetUserSettings) -> UserSettings:
        return _shown(await self._consents.consent(query.user_id))


class ChangeUserSettingsUseCase:
    def __init__(self, *, consents: ConsentStore, key_events: KeyEvents) -> None:
        self._consents = consents
        self._key_events = key_events

    async def __call__(self, command: ChangeUserSettings) -> UserSettings:
        """Nothing said is nothing decided."""
        platform, gateway = command.allow_platform_fallback, command.allow_gateway_fallback
        if platform is None and gateway is None:
            return _shown(await self._consents.consent(command.user_id))
        decision = await self._consents.decide(
            command.user_id, allow_platform=platform, allow_gateway=gateway
        )
        await self._key_events.tell(_consent_changed(command.user_id, decision))
        return _shown(decision)


def _shown(consent: Consent) -> UserSettings:
    return UserSettings(
        allow_platform_fallback=consent.allow_platform,
        allow_gateway_fallback=consent.allow_gateway,
        consent_id=consent.consent_id,
        decided_at=consent.decided_at,
    )


def _consent_changed(user_id: str, decision: Consent) -> ConsentChanged:
    return ConsentChanged(
        user_id=user_id,
        consent_id=decision.consent_id,
        allow_platform_fallback=decision.allow_platform,
        allow_gateway_fallback=decision.allow_gateway,
    )
