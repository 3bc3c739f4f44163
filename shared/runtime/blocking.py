"""Whether the broker takes what is published. Short of memory or disk, it reads from no connection that
publishes, and says so (https://www.rabbitmq.com/docs/connection-blocked); what is sent all the same lies in
this process, and reaches the broker when it is well again.
"""

from aio_pika.abc import AbstractRobustConnection

from shared.runtime.logs import get_logger


class Blocking:
    """Asked each time, and logged when it changes."""

    def __init__(self, connection: AbstractRobustConnection) -> None:
        self._connection = connection
        self._was_blocked = False

    @property
    def is_blocked(self) -> bool:
        is_blocked = self._asked()
        if is_blocked != self._was_blocked:
            self._was_blocked = is_blocked
            said = "takes nothing: it is short of memory or disk" if is_blocked else "takes messages again"
            get_logger().warning(f"rabbitmq {said}")
        return is_blocked

    def _asked(self) -> bool:
        """Aiormq has no word for it but `ready()`, which waits for as long as the connection is blocked."""
        if self._connection.transport is None:
            return False
        waiting = self._connection.transport.connection.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        finally:
            waiting.close()
        return True
