"""What was found not to agree."""

from typing import NamedTuple


class Difference(NamedTuple):
    """`subject` is an id; `kept` is what the tables say, `rebuilt` what the stream does."""

    what: str
    subject: str
    kept: str | None
    rebuilt: str | None

    def __str__(self) -> str:
        return f"{self.what}: {self.subject}: kept {self.kept or '-'}, rebuilt {self.rebuilt or '-'}"
