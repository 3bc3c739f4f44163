"""Where one stack lives: every file it makes is below one folder."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from infra.local.errors import StackError

CHECKOUT = Path(__file__).parents[2]
_SOCKET_PATH_MAX = 100  # bytes; the kernel's limit is 104 or 108


@dataclass(frozen=True)
class Home:
    """The folder of one stack."""

    path: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Home":
        """Return `$LATCHKEY_HOME`, else `.latchkey` in the checkout."""
        named = environ.get("LATCHKEY_HOME")
        return cls(Path(named).expanduser().resolve() if named else CHECKOUT / ".latchkey")

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def dev_env(self) -> Path:
        return self / "dev.env"

    @property
    def env_files(self) -> Path:
        return self / "env"

    @property
    def vault_keys(self) -> Path:
        return self / "vault" / "keys.json"

    @property
    def socket(self) -> Path:
        """The process manager's socket; elsewhere when this folder's path is too long for one."""
        near = self / "run/supervisor.sock"
        if len(os.fsencode(near)) <= _SOCKET_PATH_MAX:
            return near
        name = sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(gettempdir()) / f"latchkey-{os.getuid()}-{name}.sock"

    def log(self, part: str) -> Path:
        return self / f"logs/{part}.log"

    def pid_file(self, part: str) -> Path:
        return self / f"run/{part}.pid"

    def make(self) -> None:
        for folder in ("run", "logs", "conf", "env", "rabbitmq", "vault", "postgres"):
            (self / folder).mkdir(parents=True, exist_ok=True)
        for private in ("env", "conf", "rabbitmq", "vault"):
            (self / private).chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change this stack."""
        self.make()
        with (self / "run/lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackError(f"another command is at work on {self.path}; try again later") from error
            yield
