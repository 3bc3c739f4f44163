"""Looking for a secret in any of the shapes it could have."""

import base64
import io
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import asyncpg

_TABLES = """
SELECT schemaname, tablename FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


def shapes(secret: str) -> set[bytes]:
    """The secret plain, in hex, URL-encoded, and in base64 at each of the three places it may begin."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), *_url_encoded(secret)}
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        inner = text[4 if shift else 0 : len(text) - 4]  # the ends depend on the neighbours
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def _url_encoded(secret: str) -> set[bytes]:
    texts = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    every = "".join(f"%{byte:02X}" for byte in secret.encode())
    return {text.encode() for whole in (*texts, every) for text in (whole, _lower_escapes(whole))}


def _lower_escapes(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def traces(secret: str, places: Iterable[bytes | str]) -> list[str]:
    """Return what surrounds the secret wherever it shows; empty when it does not."""
    texts = [place.encode() if isinstance(place, str) else place for place in places]
    return [
        repr(text[max(0, at - 80) : at + 20])
        for text in texts
        for shape in shapes(secret)
        if (at := text.find(shape)) >= 0
    ]


async def database_dump(url: str) -> list[bytes]:
    """Every row of every table, as COPY writes it (bytea in hex) and as binary."""
    connection = await asyncpg.connect(url)
    dumps = []
    try:
        for table in await connection.fetch(_TABLES):
            for how in ("text", "binary"):
                out = io.BytesIO()
                schema, name = table["schemaname"], table["tablename"]
                await connection.copy_from_table(name, schema_name=schema, output=out, format=how)
                dumps.append(out.getvalue())
    finally:
        await connection.close()
    return dumps
