"""A user's own model: kept, and told with how its key stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.api_edge.domain.catalogue import Catalogue, Model
from services.api_edge.domain.errors import KeyRefusedError
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.preferences import Preferences
from services.api_edge.domain.usable_keys import UsableKey, usable_keys
from services.api_edge.ports import KeyVault, PreferenceStore
from services.api_edge.use_cases.known_flows import KnownFlows
from services.api_edge.use_cases.validate_stored_key import ValidateStoredKey
from shared.kernel.errors import PlatformError, UserApiKeyRequiredError
from shared.kernel.names import KeyVerdict

_MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """`key`: the first that could serve it, None without any. `key_status`: of the user's own key with its
    provider, when it was asked about: a verdict, or `missing`.
    """

    model: Model
    preferences: Preferences
    is_default: bool
    key: UsableKey | None
    key_status: str | None = None


class ChooseModel:
    def __init__(
        self,
        *,
        catalogue: Catalogue,
        flows: KnownFlows,
        preferences: PreferenceStore,
        key_vault: KeyVault,
        validate: ValidateStoredKey,
    ) -> None:
        self._catalogue = catalogue
        self._flows = flows
        self._preferences = preferences
        self._key_vault = key_vault
        self._validate = validate

    async def read(self, caller: Caller) -> ModelChoice:
        """Return the user's choice, else the default flow's model."""
        preferences = await self._preferences.find(caller.user_id)
        if preferences.model is None:
            return await self._default(caller, preferences)
        return await self._choice(caller, self._catalogue.find(preferences.model), preferences)

    async def set(self, caller: Caller, name: str, parameters: Mapping[str, Any]) -> ModelChoice:
        """Keep a choice. Raises BadInputError for an unknown model."""
        model = self._catalogue.find(name)
        status = await self._key_status(caller, model)
        preferences = await self._preferences.set_model(caller.user_id, model.id, parameters)
        return await self._choice(caller, model, preferences, status)

    async def forget(self, caller: Caller) -> ModelChoice:
        """Keep no choice any more."""
        return await self._default(caller, await self._preferences.forget_model(caller.user_id))

    async def _default(self, caller: Caller, preferences: Preferences) -> ModelChoice:
        name = (await self._flows()).named(None, caller.role).default_model
        return await self._choice(caller, self._catalogue.find(name), preferences)

    async def _choice(
        self, caller: Caller, model: Model, preferences: Preferences, key_status: str | None = None
    ) -> ModelChoice:
        keys = usable_keys(model.provider, await self._key_vault.status(caller.user_id))
        is_default = preferences.model is None
        return ModelChoice(model, preferences, is_default, keys[0] if keys else None, key_status)

    async def _key_status(self, caller: Caller, model: Model) -> str:
        """A choice is kept, however its key stands: the user may mend that next."""
        try:
            return (await self._validate(caller, model.provider, None)).verdict.value
        except UserApiKeyRequiredError:
            return _MISSING
        except KeyRefusedError as refused:
            return refused.key_status
        except PlatformError:
            return KeyVerdict.UNREACHABLE.value
