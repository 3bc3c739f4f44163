"""The stack: start, stop, restart and tell about all parts of one home."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from infra.bootstrap import BootstrapError, Realm, Servers, bootstrap
from infra.bootstrap.envfiles import read_env
from infra.bootstrap.platform_keys import gateway_url_from, platform_keys_from
from infra.bootstrap.step import JWT_SECRET
from infra.local import wishes as wish
from infra.local.console import Progress, stopwatch
from infra.local.dev_env import write_dev_env
from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.install import rabbitmq_server
from infra.local.known_settings import check_settings
from infra.local.ports import held, is_open, ports
from infra.local.processes import end_leftovers, processes
from infra.local.readiness import Check, answers, server_checks, serves, wait_until_ready
from infra.local.servers import SERVER_PARTS, server_parts, servers
from infra.local.services import SIMULATOR, last_metrics_port, service_parts, simulator_url
from infra.local.supervisor import ProcessState, Supervisor
from shared.kernel.names import API_EDGE
from shared.runtime.settings import SettingsError

_SERVERS_S, _SERVICES_S = 90, 60
_LOG_MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class PartStatus:
    """One part as `make status` shows it; `rss_mb` counts its children too."""

    process: ProcessState
    rss_mb: float


class Stack:
    """One native stack in one home folder; `progress` is told each step."""

    def __init__(self, home: Path, progress: Progress | None = None) -> None:
        self.home = Home(home)
        self._tell = progress or stopwatch()
        self._supervisor = Supervisor(self.home)

    def up(
        self,
        environ: Mapping[str, str],
        *,
        servers_only: bool = False,
        inference: int | None = None,
        simulator: bool | None = None,
    ) -> None:
        """Make everything run; what runs as wished is left alone.

        `environ` gives platform keys and `LATCHKEY_…` overrides. Options left None stay as they were. Raises
        StackError for a setting that is wrong, before anything is changed, or with the failing part's last
        log lines; the overrides are not kept then.
        """
        with self.home.locked():
            before = wish.recall(self.home)
            wishes = before.and_also(inference=inference, simulator=simulator, environ=environ)
            _check(wishes, environ)
            wish.remember(self.home, wishes)
            if unknown := wish.unknown(environ):
                self._tell(f"no setting: {', '.join(unknown)}")
            try:
                self._bring_up(wishes, environ, servers_only=servers_only)
            except Exception:
                wish.remember(self.home, replace(wishes, overrides=before.overrides))
                raise

    def _bring_up(self, wishes: wish.Wishes, environ: Mapping[str, str], *, servers_only: bool) -> None:
        running = self._supervisor.is_running()
        if not running:
            self._end_leftovers()  # they hold the stack's own ports
        serving = running and any(one.part == API_EDGE for one in processes(self.home))
        chosen = ports(self.home, running=running, serving=serving, edge=wishes.edge_port)
        with nullcontext() if running else held(chosen["edge"]):
            entries = self._start_servers(chosen, running=running)
            self._bootstrap(chosen, environ, wishes.jwt_secret(environ))
            url = simulator_url(chosen) if wishes.simulator else None
            write_dev_env(self.home, self.realm, edge_port=chosen["edge"], simulator_url=url)
        if not servers_only:
            self._start_services(chosen, entries, wishes)

    def down(self) -> None:
        """Stop every part, servers last, and whatever an earlier crash left behind."""
        with self.home.locked():
            if self._supervisor.is_running():
                names = {state.name for state in self._supervisor.states()}
                self._tell(f"stopping {', '.join(sorted(names))}")
                self._supervisor.stop(names - set(SERVER_PARTS))
                self._supervisor.stop(names)
                self._supervisor.shutdown(names)
            self._end_leftovers()
            for file in (self.home / "run").glob("*.pid"):
                file.unlink()
            wish.forget(self.home)

    def restart(self, service: str) -> None:
        """Restart one part, or all workers when `service` is `inference`, and wait until it is ready."""
        with self.home.locked():
            known, names = self._named(service)
            self._supervisor.restart(names)
            chosen = ports(self.home, running=True)
            checks = {name: check for name, check in server_checks(chosen).items() if name in names}
            if API_EDGE in known:
                checks |= self._service_checks(chosen, known - set(SERVER_PARTS))
            self._wait(checks, _SERVERS_S)

    def stop(self, service: str) -> None:
        """Stop one part, or all workers when `service` is `inference`, until it is restarted."""
        with self.home.locked():
            _, names = self._named(service)
            self._supervisor.stop(names)

    def status(self) -> list[PartStatus]:
        """Return all parts, none when the stack is down."""
        if not self._supervisor.is_running():
            return []
        sizes = processes(self.home)
        return [
            PartStatus(state, sum(one.rss_kb for one in sizes if one.part == state.name) / 1024)
            for state in self._supervisor.states()
        ]

    @property
    def realm(self) -> Realm:
        return Realm()

    @property
    def is_running(self) -> bool:
        return self._supervisor.is_running()

    def servers(self) -> Servers:
        """Return the servers as their administrator reaches them."""
        self._check_running()
        return servers(self.home, ports(self.home, running=True))

    def env(self) -> dict[str, str]:
        """Return what `dev.env` says."""
        return read_env(self.home.dev_env)

    def _check_running(self) -> None:
        if not self._supervisor.is_running():
            raise StackError("the stack is not running; `make up` starts it")

    def _named(self, service: str) -> tuple[set[str], set[str]]:
        """Return all parts' names, and those that `service` means."""
        self._check_running()
        known = {state.name for state in self._supervisor.states()}
        names = {name for name in known if name == service or name.startswith(f"{service}-")}
        if not names:
            raise StackError(f"no part is called {service}; there are {', '.join(sorted(known))}")
        return known, names

    def _start_servers(self, chosen: dict[str, int], *, running: bool) -> list[str]:
        script = rabbitmq_server(self._tell)
        parts = server_parts(self.home, chosen, script)
        entries = [part.write_launcher(self.home) for part in parts]
        if running:
            self._supervisor.apply(entries, only=lambda name: name in SERVER_PARTS)
        else:
            self._start_supervisor(entries)
        self._wait(server_checks(chosen), _SERVERS_S)
        return entries

    def _end_leftovers(self) -> None:
        if left := end_leftovers(self.home):
            parts = ", ".join(sorted({process.part for process in left}))
            self._tell(f"ended what a crash left behind: {parts} ({len(left)} processes)")

    def _start_supervisor(self, entries: list[str]) -> None:
        for log in (self.home / "logs").glob("*.log"):
            if log.stat().st_size > _LOG_MAX_BYTES:
                log.replace(log.with_suffix(".log.1"))
        self._tell(f"starting RabbitMQ, OpenBao and Postgres in {self.home.path}")
        self._supervisor.start(entries)

    def _bootstrap(self, chosen: dict[str, int], environ: Mapping[str, str], jwt_secret: str | None) -> None:
        try:
            realm = Realm(
                self.realm.name,
                platform_keys_from(environ),
                gateway_url_from(environ),
                jwt_secret,
            )
            bootstrap(servers(self.home, chosen), realm, self.home.env_files, progress=self._tell)
        except BootstrapError as error:
            raise StackError(f"bootstrap: {error}") from error
        self._tell("servers are bootstrapped")

    def _start_services(self, chosen: dict[str, int], entries: list[str], wishes: wish.Wishes) -> None:
        parts = service_parts(self.home, chosen, wishes)
        entries = [*entries, *(part.write_launcher(self.home) for part in parts)]
        started = self._supervisor.apply(entries, only=lambda name: name not in SERVER_PARTS)
        if started:
            self._tell(f"starting {', '.join(started)}")
        self._wait(self._service_checks(chosen, {part.name for part in parts}), _SERVICES_S)
        self._tell(f"ready at http://127.0.0.1:{chosen['edge']} — tokens are in {self.home.dev_env}")

    def _service_checks(self, chosen: dict[str, int], names: set[str]) -> dict[str, Check]:
        checks = {name: self._is_serving(name) for name in sorted(names)}
        checks[API_EDGE] = self._is_edge_ready
        if SIMULATOR in names:
            checks[SIMULATOR] = lambda: is_open(chosen["simulator"])
        return checks

    def _is_edge_ready(self) -> bool:
        """Ask with a token of this stack's: another one's edge, on a port both want, does not know it.

        One of them may have been revoked since.
        """
        env = self.env()
        url, tokens = env["LATCHKEY_URL"], (env["LATCHKEY_ADMIN_TOKEN"], env["LATCHKEY_USER_TOKEN"])
        return answers(f"{url}/readyz") and any(answers(f"{url}/v1/models", token=token) for token in tokens)

    def _is_serving(self, name: str) -> Check:
        """A second worker counts as serving when it runs and the first one serves: they share their queue."""
        url, service = self.env()["LATCHKEY_URL"], name.partition("-")[0]
        return lambda: self._runs(name) and serves(url, service)

    def _runs(self, name: str) -> bool:
        return any(state.name == name and state.is_running for state in self._supervisor.states())

    def _wait(self, checks: Mapping[str, Check], timeout_s: float) -> None:
        wait_until_ready(self.home, self._supervisor, checks, timeout_s=timeout_s, progress=self._tell)


def _check(wishes: wish.Wishes, environ: Mapping[str, str]) -> None:
    secret = {JWT_SECRET: wishes.jwt_secret(environ) or ""}
    try:
        check_settings({**wishes.overrides, **secret})
        check_settings({**wishes.overrides, **last_metrics_port(wishes)})
    except SettingsError as error:
        kept = [name for name in wishes.overrides if name in str(error) and name not in environ]
        back = f"; given before: {', '.join(kept)} (set to nothing, it is taken back)" if kept else ""
        raise StackError(f"settings: {error}{back}") from None
