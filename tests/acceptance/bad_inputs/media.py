"""Bodies in other forms than JSON, honestly announced or not."""

import base64
import gzip
import zlib
from typing import Final

from tests.acceptance.bad_inputs.case import CHAT, KEYS, Case, case

_TEXT: Final = b'{"service": "openai", "api_key": "<canary>"}'
_FORMS: Final = {
    "a form": (b"service=openai&api_key=<canary>", {"Content-Type": "application/x-www-form-urlencoded"}),
    "a form of parts": (
        b'--x\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n<canary>\r\n--x--\r\n',
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "XML that names a file": (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        {"Content-Type": "application/xml"},
    ),
    "YAML that makes an object": (
        b"!!python/object/apply:os.system [id]",
        {"Content-Type": "application/yaml"},
    ),
    "a pickle": (
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00N.",
        {"Content-Type": "application/octet-stream"},
    ),
    "MessagePack": (b"\x82\xa7service\xa6openai\xa7api_key\xa1x", {"Content-Type": "application/msgpack"}),
    "CBOR": (b"\xa2gserviceeopenaigapi_keyax", {"Content-Type": "application/cbor"}),
    "lines of JSON": (_TEXT + b"\n" + _TEXT, {"Content-Type": "application/x-ndjson"}),
    "JSON in a JSON text": (b'"{\\"service\\": \\"openai\\"}"', {}),
    "JSON in base64": (base64.b64encode(_TEXT), {}),
    "gzip": (gzip.compress(_TEXT), {"Content-Encoding": "gzip"}),
    "gzip that says nothing": (gzip.compress(_TEXT), {}),
    "a bomb": (gzip.compress(b"[" * 10_000_000), {"Content-Encoding": "gzip"}),
    "deflate": (zlib.compress(_TEXT), {"Content-Encoding": "deflate"}),
    "a charset that is none": (
        _TEXT.decode().encode("utf-16"),
        {"Content-Type": "application/json; charset=utf-16"},
    ),
}

CASES: Final[tuple[Case, ...]] = tuple(
    case(f"{name}, {call}", call, body, headers=headers)
    for name, (body, headers) in _FORMS.items()
    for call in ((KEYS, CHAT) if "Content-Encoding" in headers else (KEYS,))
)
