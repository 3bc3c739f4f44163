"""A provider's own name for a call, out of the headers of its answer."""

import re
from collections.abc import Mapping
from typing import Final

from services.inference.domain.providers import ProviderSpec
from services.inference.ports import ProviderCall
from shared.runtime.logs import redact

_FORM: Final = re.compile(r"[!-~]{1,128}")


def tell_request_id(call: ProviderCall, spec: ProviderSpec, headers: Mapping[str, str]) -> None:
    """Tell it, if there is one to tell."""
    secret = call.key.secret.reveal()
    for name in spec.request_id:
        value = headers.get(name)
        if value and _is_harmless(value, secret):
            call.on_request_id(value)
            return


def _is_harmless(value: str, secret: str) -> bool:
    """Callers' own addresses answer what they like: it must not be a key, nor hold one."""
    return bool(_FORM.fullmatch(value)) and secret not in value and redact(value) == value
