"""Every message there is in `shared/contracts`, and what each request is answered with."""

import importlib
import pkgutil
from typing import Final

from pydantic import BaseModel

import shared.contracts
import shared.contracts.credits as money
from shared.contracts import (
    billing,
    consent,
    keys,
    models,
    platform_keys,
    prices,
    resolving,
    validation,
)
from shared.contracts.message import Message
from shared.contracts.rpc import Request

ANSWERS: Final[dict[type[Request], type[BaseModel]]] = {
    billing.AuthorizeRun: billing.RunAuthorized,
    billing.GetReceipt: billing.Receipt,
    billing.ListUsage: billing.UsagePage,
    money.AdjustCredits: money.CreditsMoved,
    money.DeductCredits: money.CreditsMoved,
    money.GetBalance: money.Balance,
    money.GrantCredits: money.CreditsMoved,
    money.ListStatement: money.StatementPage,
    models.ListModels: models.ModelsListed,
    consent.ChangeUserSettings: consent.UserSettings,
    consent.GetUserSettings: consent.UserSettings,
    keys.GetKeyStatus: keys.KeyStatus,
    keys.IssueSessionKey: keys.SessionKeyIssued,
    keys.ListKeys: keys.Credentials,
    keys.ReplaceKey: keys.Credential,
    keys.RevokeKey: keys.KeysRevoked,
    keys.RevokeKeys: keys.KeysRevoked,
    keys.RewrapKeys: keys.KeysRewrapped,
    keys.StoreKey: keys.Credential,
    keys.UpdateKey: keys.Credential,
    platform_keys.ListPlatformKeys: platform_keys.PlatformKeys,
    platform_keys.MendPlatformKey: platform_keys.PlatformKeyInfo,
    prices.FindPrice: prices.PriceFound,
    prices.ListPrices: prices.PriceList,
    prices.SetPrice: prices.PriceSet,
    resolving.OpenKey: resolving.KeyOpened,
    resolving.ResolveKey: resolving.KeyResolved,
    validation.ValidateKey: validation.KeyValidated,
}


def contracts() -> dict[str, type[Message]]:
    """Return each contract version by its routing key, in its order."""
    modules = [
        importlib.import_module(f"shared.contracts.{found.name}")
        for found in pkgutil.iter_modules(shared.contracts.__path__)
    ]
    named = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found = {
        model.ROUTING_KEY: model
        for model in named
        if issubclass(model, Message) and "ROUTING_KEY" in vars(model)
    }
    return dict(sorted(found.items()))
