"""Error bodies as the providers send them (`provider_refusals.json`), and what each means."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from shared.kernel.names import KeyService, KeyVerdict


@dataclass(frozen=True)
class RefusalCase:
    """`code`: what a run with the user's key ends with; `verdict`: what it says of a key to be validated."""

    name: str
    service: KeyService
    status: int
    body: Any
    code: str
    verdict: KeyVerdict

    @property
    def message(self) -> str:
        outer = self.body[0] if isinstance(self.body, list) else self.body
        inner = outer["error"]
        return str(inner["message"] if isinstance(inner, dict) else inner)


def refusal_cases() -> list[RefusalCase]:
    services = orjson.loads(Path(__file__).with_name("provider_refusals.json").read_bytes())
    return [
        RefusalCase(
            f"{service}, {entry['name']}",
            KeyService(service),
            entry["status"],
            entry["body"],
            entry["code"],
            KeyVerdict(entry["verdict"]),
        )
        for service, told in services.items()
        for entry in told["refusals"]
    ]
