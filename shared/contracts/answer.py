"""The base of what an RPC answers with."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
