"""Whom TLS connections trust."""

import ssl

import httpx2


def has_tls(url: str) -> bool:
    """Say whether an address is HTTPS, however it is written."""
    return url.lower().startswith("https:")


def authorities() -> ssl.SSLContext:
    """Return a context that trusts the public authorities and the machine's own.

    The machine's are OpenSSL's: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, where these are set. Reading
    them all takes 40 ms.
    """
    context = httpx2.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
