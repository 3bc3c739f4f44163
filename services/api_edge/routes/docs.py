"""What routes read, described for /docs."""

from functools import lru_cache
from typing import Any

import orjson

from services.api_edge.routes.wire import Input


def body_docs(model: type[Input], *, required: bool = True) -> dict[str, Any]:
    """Describe a body for /docs."""
    content = {"application/json": {"schema": _schema(model)}}
    return {"requestBody": {"required": required, "content": content}}


def query_docs(model: type[Input]) -> dict[str, Any]:
    """Describe query parameters for /docs."""
    properties = _schema(model)["properties"]
    return {"parameters": [{"in": "query", "name": name, "schema": properties[name]} for name in properties]}


def _schema(model: type[Input]) -> dict[str, Any]:
    schema: dict[str, Any] = orjson.loads(_schema_text(model))
    definitions = schema.pop("$defs", {})
    for name, value in schema.get("properties", {}).items():
        schema["properties"][name] = _inline(value, definitions)
    return schema


@lru_cache
def _schema_text(model: type[Input]) -> bytes:
    return orjson.dumps(model.model_json_schema())


def _inline(value: Any, definitions: dict[str, Any]) -> Any:
    """Put what a schema refers to in its place: the document has no such definitions."""
    if isinstance(value, list):
        return [_inline(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if reference := value.get("$ref"):
        return _inline(definitions[reference.rpartition("/")[2]], definitions)
    return {name: _inline(each, definitions) for name, each in value.items()}
