"""What the SDK and the network raise, as our errors. Nothing of theirs goes further: it may hold a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
import openai
import orjson

from services.inference.domain.failures import EndpointMissingError, error_of
from services.inference.domain.refusals import Refusal, refusal_of
from services.inference.ports import ProviderCall
from shared.kernel.errors import InternalError, PlatformError, ProviderError, ProviderTimeoutError
from shared.kernel.secret import REDACTED
from shared.runtime.logs import get_logger, redact, redacting

_QUOTED_CHARS_MAX: Final = 2_000
_NOTHING_THERE: Final = (404, 405)


@contextmanager
def provider_errors(call: ProviderCall) -> Iterator[None]:
    """Mask the key in every log line, and raise only PlatformErrors, without a cause."""
    with redacting(call.key.secret):
        try:
            yield
        except PlatformError:
            raise
        except openai.APIStatusError as error:
            raise _refused(error.response, call) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            service = call.key.used.service
            raise ProviderTimeoutError(f"{service} did not answer in time", service=service) from None
        except (openai.APIConnectionError, httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            service = call.key.used.service
            get_logger().warning("provider connection failed", reason=type(error).__name__)
            raise ProviderError(f"the connection to {service} failed", service=service) from None
        except Exception:  # noqa: BLE001 - whatever a library wrote into it may hold the key
            get_logger().exception("provider call failed")
            raise InternalError from None


def _refused(response: httpx2.Response, call: ProviderCall) -> PlatformError:
    used = call.key.used
    refusal = refusal_of(response.status_code, parsed(response.content), _retry_after_s(response))
    get_logger().info("provider refused", status=response.status_code, key_source=used.source)
    error = error_of(quotable(refusal, call), used.service, used.source)
    if refusal.status in _NOTHING_THERE and not refusal.shows("model_not_found"):
        return EndpointMissingError(error.message, service=error.service, refused=error.refused)
    return error


def quotable(refusal: Refusal, call: ProviderCall) -> Refusal:
    """Return what may be quoted of it: nothing in which a key is."""
    code, param = (_quotable_word(word, call) for word in (refusal.code, refusal.param))
    return replace(refusal, message=_quotable_text(refusal.message, call), code=code, param=param)


def _quotable_text(text: str, call: ProviderCall) -> str:
    """Return the provider's words without any key or control character (Postgres keeps no NUL); none of them
    when the key is still in there.
    """
    secret = call.key.secret.reveal()
    text = redact(text.replace(secret, REDACTED)[:_QUOTED_CHARS_MAX])
    printable = "".join(char if char.isprintable() else " " for char in text)
    return "" if secret in printable else printable


def _quotable_word(word: str | None, call: ProviderCall) -> str | None:
    """A word out of which something is to be taken is none any more."""
    return word if word is None or _quotable_text(word, call) == word else None


def parsed(content: bytes) -> object:
    """Return the JSON in it, None for anything else."""
    try:
        body: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Read `Retry-After` (RFC 9110 §10.2.3), seconds or a date, and OpenAI's `retry-after-ms`."""
    if (milliseconds := _number(response.headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = response.headers.get("retry-after")
    if value is None or (seconds := _number(value)) is not None:
        return None if value is None else seconds
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
