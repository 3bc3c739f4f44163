"""Keys that cannot be stored, replaced, tried or revoked; whatever is wrong, the key is not told again."""

from typing import Any, Final

from tests.acceptance.bad_inputs.case import CANARY, NOBODYS, BadInput, posting

_GOOD: Final[dict[str, Any]] = {"service": "openai", "api_key": CANARY}
_NEW: Final[dict[str, Any]] = {
    "unknown service": {**_GOOD, "service": "nobody"},
    "service is a number": {**_GOOD, "service": 5},
    "no service": {"api_key": CANARY},
    "no key": {"service": "openai"},
    "key is a list": {**_GOOD, "api_key": [CANARY]},
    "key is an object": {**_GOOD, "api_key": {"key": CANARY}},
    "key is empty": {**_GOOD, "api_key": ""},
    "key is blank": {**_GOOD, "api_key": "   "},
    "key with a line break": {**_GOOD, "api_key": f"{CANARY}\r\nX-Evil: 1"},
    "key with a NUL": {**_GOOD, "api_key": f"{CANARY}\x00"},
    "key beyond ASCII": {**_GOOD, "api_key": f"{CANARY}è"},
    "key without end": {**_GOOD, "api_key": CANARY * 500},
    "label without end": {**_GOOD, "label": "x" * 5_000},
    "label with a NUL": {**_GOOD, "label": "a\x00b"},
    "the key as label": {**_GOOD, "label": CANARY},
    "label is a number": {**_GOOD, "label": 5},
    "kept where nobody knows": {**_GOOD, "persist": "everywhere"},
    "position below nought": {**_GOOD, "position": -1},
    "position is text": {**_GOOD, "position": "first"},
    "position beyond integers": {**_GOOD, "position": 2**63},
    "address with the key": {**_GOOD, "baseUrl": f"https://{CANARY}@example.org"},
    "address by ftp": {**_GOOD, "baseUrl": "ftp://example.org"},
    "address is a number": {**_GOOD, "baseUrl": 5},
    "the last of two keys is none": b'{"service": "openai", "api_key": "'
    + CANARY.encode()
    + b'", "api_key": 5}',
    "cut amid the key": b'{"service": "openai", "api_key": "' + CANARY.encode(),
    "broken UTF-8 beside the key": b'{"service": "\xff", "api_key": "' + CANARY.encode() + b'"}',
}
_PATCHES: Final[dict[str, Any]] = {
    "nothing": {},
    "unknown status": {"status": "gone"},
    "status is a number": {"status": 1},
    "label is a list": {"label": ["x"]},
    "a key as label": {"label": CANARY},
    "position is text": {"position": "first"},
}

CASES: Final[tuple[BadInput, ...]] = (
    *(posting(name, "/api/keys", body) for name, body in _NEW.items()),
    *(
        posting(name, "/api/keys/validate", body)
        for name, body in _NEW.items()
        if name.startswith(("key", "address", "unknown", "cut")) and name != "key with a NUL"
    ),
    *(
        posting(f"PATCH {name}", f"/api/keys/{NOBODYS}", body).as_method("PATCH")
        for name, body in _PATCHES.items()
    ),
    posting("revoke nobody's", "/api/admin/keys/revoke", {}, who="admin"),
    posting("revoke a number's", "/api/admin/keys/revoke", {"user_id": 5}, who="admin"),
    posting("revoke at nobody", "/api/admin/keys/revoke", {"user_id": "u", "service": "nobody"}, who="admin"),
    posting("rewrap none", "/api/admin/keys/rewrap", {"limit": 0}, who="admin"),
    posting("rewrap too many", "/api/admin/keys/rewrap", {"limit": 10**12}, who="admin"),
    posting("rewrap some", "/api/admin/keys/rewrap", {"limit": "some"}, who="admin"),
)
