"""All files of docs/contracts, as they should be."""

import json
from typing import Any, Final

from infra.contracts.asyncapi import asyncapi
from infra.contracts.found import ANSWERS, contracts
from infra.contracts.page import page
from infra.contracts.schemas import answer_schema, schema
from infra.local.home import CHECKOUT

FOLDER: Final = CHECKOUT / "docs" / "contracts"


def files() -> dict[str, str]:
    """Return each file's text by its name."""
    found = contracts()
    answers = {
        f"{request.ROUTING_KEY}.answer.schema.json": answer_schema(request, answer)
        for request, answer in ANSWERS.items()
    }
    documents = {
        **{f"{key}.schema.json": schema(message) for key, message in found.items()},
        **answers,
        "asyncapi.json": asyncapi(found),
    }
    return {"README.md": page(found), **{name: _json(document) for name, document in documents.items()}}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
