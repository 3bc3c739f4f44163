"""supervisord, with a poller that remembers no file descriptor (`python -m infra.local.daemon`).

supervisord 4.3 closes a client's connection without telling its poller. When a part starts in the same turn
of the loop, the end that is kept of its stdin may get the number: watched for ever, and in error for ever, as
parts take their stdin from elsewhere. The loop does not look at errors: it spins (Supervisor/supervisor#807).
"""

from supervisor import poller, supervisord  # type: ignore[import-untyped]


class ForgetfulPoller(poller.PollPoller):  # type: ignore[misc]
    """Watches for one turn only: supervisord says in each what to watch."""

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        try:
            readable, writable = super().poll(timeout)
        finally:
            self.initialize()
        return readable, writable

    def unregister_readable(self, fd: int) -> None:
        """Nothing is registered between turns."""

    def unregister_writable(self, fd: int) -> None:
        """Nothing is registered between turns."""


def main() -> None:
    if poller.Poller is poller.PollPoller:  # kqueue (macOS) forgets what is closed by itself
        poller.Poller = ForgetfulPoller
    supervisord.main()


if __name__ == "__main__":
    main()
