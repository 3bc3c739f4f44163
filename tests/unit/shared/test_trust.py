"""Whom TLS connections trust: the public authorities, and those that the machine is told of."""

import sys
from pathlib import Path

import pytest
import trustme

from tests.processes import done

pytestmark = pytest.mark.unit

_TOLD = """
from shared.runtime.trust import authorities
for one in authorities().get_ca_certs():
    print(*(value for part in one["subject"] for _, value in part))
"""


async def test_public_authorities_and_the_machines_own(tmp_path: Path) -> None:
    own = trustme.CA(organization_name="of this test")
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    told = await done(sys.executable, "-c", _TOLD, SSL_CERT_FILE=str(tmp_path / "own.pem"))
    assert "of this test" in told
    assert "ISRG Root X1" in told
