"""Initialise and unseal a Vault of ours. Standard library only, and run as a file: `--watch` stays in memory.

    python -I -S infra/bootstrap/unseal.py --keys-file FILE [--watch]

The unseal key and the root token are kept in FILE (mode 600). That suits a development machine; real
installations unseal with a KMS (auto-unseal) and have no such file.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

_POLL_S = 0.2
_WATCH_S = 2.0
_TIMEOUT_S = 10


def unseal(addr: str, keys_file: Path) -> bool:
    """Initialise the Vault at `addr` when it is new, unseal it when sealed; tell whether it did anything.

    Raises OSError while it does not answer, ValueError when it is initialised and `keys_file` is not there.
    """
    status = _call(addr, "GET", "seal-status")
    if not status["initialized"]:
        _initialise(addr, keys_file)
    elif not status["sealed"]:
        return False
    if not keys_file.exists():
        raise ValueError(f"vault is initialised, but its unseal key is not in {keys_file}")
    for key in json.loads(keys_file.read_text())["keys"]:
        _call(addr, "PUT", "unseal", {"key": key})
    return True


def root_token(keys_file: str | Path | None) -> str | None:
    """Return the root token kept in `keys_file`, if there is such a file."""
    if not keys_file or not Path(keys_file).exists():
        return None
    token: str = json.loads(Path(keys_file).read_text())["root_token"]
    return token


def _initialise(addr: str, keys_file: Path) -> None:
    made = _call(addr, "PUT", "init", {"secret_shares": 1, "secret_threshold": 1})
    keys_file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(keys_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        json.dump({"keys": made["keys_base64"], "root_token": made["root_token"]}, file)


def _call(addr: str, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{addr}/v1/sys/{path}", data=data, method=method)  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=_TIMEOUT_S) as answer:
        return json.load(answer)


def _watch(addr: str, keys_file: Path) -> NoReturn:
    """Unseal whenever needed, for ever: quick tries while it is down, slow looks while all is well."""
    told = ""
    while True:
        try:
            news = "unsealed" if unseal(addr, keys_file) else told
            pause_s = _WATCH_S
        except (OSError, ValueError) as error:
            news, pause_s = str(error), _POLL_S
        if news != told:
            print(f"vault at {addr}: {news}", flush=True)
            told = news
        time.sleep(pause_s)


def main() -> int:
    parser = argparse.ArgumentParser(prog="unseal.py")
    parser.add_argument("--addr", default=os.environ.get("VAULT_ADDR", "http://127.0.0.1:8200"))
    parser.add_argument("--keys-file", type=Path, required=True)
    parser.add_argument("--watch", action="store_true", help="never end; unseal again after each restart")
    args = parser.parse_args()
    if args.watch:
        _watch(args.addr, args.keys_file)
    print("unsealed" if unseal(args.addr, args.keys_file) else "was unsealed already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
