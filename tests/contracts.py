"""Every message contract there is, found in `shared/contracts`."""

import importlib
import pkgutil

import shared.contracts
from shared.contracts.message import Message


def all_contracts() -> dict[str, type[Message]]:
    """Return each contract by its routing key."""
    modules = [
        importlib.import_module(f"shared.contracts.{found.name}")
        for found in pkgutil.iter_modules(shared.contracts.__path__)
    ]
    named = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {
        model.ROUTING_KEY: model
        for model in named
        if issubclass(model, Message) and "ROUTING_KEY" in vars(model)
    }
