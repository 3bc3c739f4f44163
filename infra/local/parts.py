"""A part is one process of the stack; its launcher script says how it starts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from infra.bootstrap.envfiles import write_private
from infra.local.home import CHECKOUT, Home

MARKER = "LATCHKEY_PART"


@dataclass(frozen=True)
class Part:
    """One process. `before` is shell that runs first; `reads` are files whose change means a restart."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    reads: tuple[Path, ...] = ()
    stop_signal: str = "TERM"
    stop_s: int = 20

    def write_launcher(self, home: Home) -> str:
        """Write the script that becomes this part's process; return its process manager's entry.

        The entry ends in a digest of all the part depends on, so that a change of it means a restart.
        """
        script = home / f"conf/{self.name}.sh"
        text = self._launcher(home)
        write_private(script, text)
        content = b"".join(path.read_bytes() for path in self.reads if path.exists())
        digest = sha256(text.encode() + content).hexdigest()[:12]
        command = shlex.join(["/bin/sh", str(script), digest]).replace("%", "%%")
        return _ENTRY.format(part=self, command=command, folder=str(CHECKOUT).replace("%", "%%"))

    def _launcher(self, home: Home) -> str:
        env = {MARKER: f"{self.name}@{home.path}", **self.env}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
        log, pid = shlex.quote(str(home.log(self.name))), shlex.quote(str(home.pid_file(self.name)))
        run = f"exec {shlex.join(self.command)}"
        return f"exec >>{log} 2>&1 </dev/null\n{exports}{self.before}echo $$ >{pid}\n{run}\n"


_ENTRY = """
[program:{part.name}]
command={command}
directory={folder}
autorestart=true
startsecs=1
startretries=60
stopsignal={part.stop_signal}
stopwaitsecs={part.stop_s}
killasgroup=true
stdout_logfile=NONE
stderr_logfile=NONE
"""
