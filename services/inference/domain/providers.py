"""A provider as data: where it is, how it wants its key, its models' names and its limits spelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.inference.domain.estimates import completion_limit
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService, KeyVerdict, Operation

ModelSpelling = Literal["bare", "prefixed"]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is asked about a key, with which headers, and how the answer is read.

    `flags`, `balance` and `expires_at` name fields of the answer; `proof`: codes, or what a message begins
    with (patterns, in lower case), of a refusal that only a good key gets.
    """

    path: str = "/models"
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, KeyVerdict] = field(default_factory=dict)
    balance: str | None = None
    expires_at: str | None = None
    proof: tuple[str, ...] = ()

    @property
    def lists_models(self) -> bool:
        return self.path == "/models"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """`models`: "bare" wants `gpt-4o`, "prefixed" wants `openai/gpt-4o`, with `prefixes` for other names;
    `own_models`: it has some under its own name.

    `limit_parameter` is what it calls the most tokens of a completion; `extra_body` goes with every call;
    `request_id` are the headers that may bring its name for a call; `lacks`: endpoints that it does not have.
    `overridden`: `base_url` is from the settings.
    """

    service: KeyService
    base_url: str
    overridden: bool = False
    models: ModelSpelling = "bare"
    prefixes: Mapping[str, str] = field(default_factory=dict)
    own_models: bool = False
    limit_parameter: str = "max_completion_tokens"
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    request_id: tuple[str, ...] = ("x-request-id", "request-id")
    key_check: KeyCheck = field(default_factory=KeyCheck)
    key_checks_at: Mapping[str, KeyCheck] = field(default_factory=dict)
    lacks: tuple[Operation, ...] = ()

    def model_name(self, model: str) -> str:
        """Spell `provider/model` as this service wants it."""
        prefix, _, name = model.partition("/")
        if not name:
            return model
        if self.models == "bare":
            return name
        if prefix == self.service:  # "openrouter/openai/gpt-4o"; "openrouter/auto" is a model's whole name
            return model if self.own_models and "/" not in name else name
        return f"{self.prefixes.get(prefix, prefix)}/{name}"

    def check_at(self, host: str) -> KeyCheck:
        """Return what to ask about a key at this host."""
        return self.key_checks_at.get(host, self.key_check)


def request_body(
    spec: ProviderSpec,
    model: str,
    body: Mapping[str, Any],
    *,
    stream: bool,
    ceiling: int | None,
    operation: Operation = Operation.CHAT,
) -> dict[str, Any]:
    """Return the client's parameters as this provider is to get them; a stream always tells its usage.

    Raises InvalidRequestError for a response that nobody could read: here is no asking for it later.
    """
    if operation is Operation.RESPONSES and body.get("background"):
        raise InvalidRequestError(
            "a response in the background could not be read later", service=spec.service
        )
    sent = {**body, "model": spec.model_name(model)}
    if operation is Operation.EMBEDDINGS:
        return sent
    is_chat = operation is Operation.CHAT
    if is_chat:
        sent |= spec.extra_body
    if stream:
        sent["stream"] = True
        if is_chat:
            sent["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if ceiling is not None and completion_limit(sent) is None:
        sent[spec.limit_parameter if is_chat else "max_output_tokens"] = ceiling
    return sent
