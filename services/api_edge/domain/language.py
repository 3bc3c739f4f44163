"""The language of a message: what the client prefers of what we speak (RFC 9110 §12.5.4)."""

DEFAULT = "en"
LANGUAGES = (DEFAULT, "it")


def preferred(accept_language: str | None) -> str:
    """Return the best of LANGUAGES; English when the client names none of them."""
    best, best_q = DEFAULT, 0.0
    for choice in (accept_language or "").split(",")[:20]:
        tag, _, weight = choice.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and (q := _weight(weight)) > best_q:
            best, best_q = language, q
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
