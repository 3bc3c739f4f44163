"""The parts that a request's messages are made of: texts, images, and what else there is."""

from collections.abc import Iterator
from typing import Any


def parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a chat's messages, and of a Responses' input: of messages and of tools' outputs."""
    for name in ("messages", "input"):
        for message in objects(body.get(name)):
            yield from objects(message.get("content"))
            yield from objects(message.get("output"))


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Yield the objects in a list; none of what is no list."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def inline_chars(image: object) -> int:
    address = address_of(image)
    return len(address) if is_inline(address) else 0


def address_of(image: object) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def is_inline(address: str) -> bool:
    return address[:5].lower() == "data:"
