"""What a client may name in a header of its own."""

from shared.kernel.secret import holds_secret


def is_plain_name(value: str, chars_max: int) -> bool:
    """Say whether it is printable ASCII, not too long, and no key."""
    is_text = value.isascii() and value.isprintable() and len(value) <= chars_max
    return is_text and not holds_secret(value)
