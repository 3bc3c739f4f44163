"""What was measured on, and when."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from infra.local.home import CHECKOUT
from infra.local.install import rabbitmq_server
from tests.bench.versus.installing import versions
from tests.processes import done


async def facts() -> dict[str, str]:
    """Name and value; the load average tells whether the machine was quiet before."""
    return {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Processor": f"{_processor()}, {os.cpu_count()} cores",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Load average before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "Latchkey": await done("git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"),
        "RabbitMQ": _rabbitmq(),
        **await versions(),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _rabbitmq() -> str:
    """Its version, which its own script's folder is named after."""
    found = re.search(r"[-/](\d+\.\d+\.\d+)/", str(rabbitmq_server(print).resolve()))
    return found[1] if found else "of the system"
