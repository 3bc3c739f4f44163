"""The answer to every RPC: a result or a typed error, never both."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from shared.contracts.message import Message
from shared.kernel.errors import PlatformError, Refused, error_class


class ErrorBody(BaseModel):
    """A `PlatformError` on the wire. `retry_after_s` in seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    code: str
    message: str
    service: str | None = None
    retry_after_s: float | None = None
    detail: str | None = None
    refused: Refused | None = None

    @classmethod
    def of(cls, error: PlatformError) -> Self:
        return cls(
            code=error.code,
            message=error.message,
            service=error.service,
            retry_after_s=error.retry_after_s,
            detail=error.detail,
            refused=error.refused,
        )

    def to_error(self) -> PlatformError:
        return error_class(self.code)(
            self.message,
            service=self.service,
            retry_after_s=self.retry_after_s,
            detail=self.detail,
            refused=self.refused,
        )


class Request(Message):
    """A command that expects an answer. The service that answers is the first word of its routing key."""

    EXCHANGE = "rpc"

    @classmethod
    def receiver(cls) -> str:
        return cls.ROUTING_KEY.split(".", 1)[0]


class RpcReply(Message):
    """The answer to a request: a result, or an error."""

    EXCHANGE = "replies"
    ROUTING_KEY = "rpc.reply.v1"

    result: dict[str, Any] | None = None
    error: ErrorBody | None = None
