"""`python -m infra.simulator`: serve the simulator."""

import argparse
import logging

import uvicorn

from infra.simulator.app import create_app
from infra.simulator.delivery import SocketCutError


def _unexpected(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], SocketCutError))


def main() -> None:
    parser = argparse.ArgumentParser(prog="infra.simulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.getLogger("uvicorn.error").addFilter(_unexpected)
    uvicorn.run(
        create_app(),
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
