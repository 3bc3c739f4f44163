"""RabbitMQ over its management API: vhost, users, least permissions, topology."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx2

from infra.bootstrap.http import Api, client, wait_for
from infra.bootstrap.realm import BootstrapError, Realm, Servers, url_for
from infra.bootstrap.streams import check_stream
from shared.contracts.topology import RPC_QUEUES

FOLDER = Path(__file__).parents[1] / "rabbitmq"
ADMIN, ANALYST = "admin", "analyst"
_ALL = {"configure": ".*", "write": ".*", "read": ".*"}
_NOTHING = "^$"
# The broker writes the names of new replicated queues to disk half a second late; killed before, it loses
# their leaders for ever (the first stream of a node, on 3.10).
_SETTLE_S = 1.0
_CLUSTER = 3
"""Nodes, of which one can be lost."""
_FIT_FOR_CLUSTERS = 4


def prepare(
    servers: Servers,
    realm: Realm,
    known: Mapping[str, str],
    *,
    timeout_s: float,
    progress: Callable[[str], None],
) -> dict[str, str]:
    """Make the realm's vhost with everything in it; return each user's password.

    `known` holds the passwords of an earlier run, which are kept.
    """
    with administrator(servers) as http:
        api = Api("rabbitmq", http)
        # A cluster may take longer to make one than a call waits.
        wait_for("rabbitmq", lambda: api.call("PUT", f"/api/vhosts/{realm.name}", {}), timeout_s=timeout_s)
        _allow_administrator(api, servers, realm)
        passwords = _users(api, realm, known)
        nodes = len(api.call("GET", "/api/nodes"))
        _warn(api, nodes, progress)
        declare(api, servers, realm, definitions(nodes), timeout_s=timeout_s)
        return passwords


def drop(servers: Servers, realm: Realm) -> None:
    """Remove the vhost and its users; what is not there is no error."""
    with administrator(servers) as http:
        api = Api("rabbitmq", http)
        api.call("DELETE", f"/api/vhosts/{realm.name}", absent_ok=True)
        for who in (ADMIN, *permissions()):
            api.call("DELETE", f"/api/users/{realm.login(who)}", absent_ok=True)


def permissions() -> dict[str, dict[str, Any]]:
    """Return `permissions.json`: for each service and the analyst its rights on names and on routing keys."""
    rights: dict[str, dict[str, Any]] = json.loads((FOLDER / "permissions.json").read_text())
    return rights


def management_login(servers: Servers) -> tuple[str, str]:
    """Return user and password for the management API."""
    own, amqp = urlsplit(servers.management_url), urlsplit(servers.amqp_url)
    login = own if own.username else amqp
    return unquote(login.username or "guest"), unquote(login.password or "guest")


def management_address(servers: Servers) -> str:
    """Return the management API's URL without login or trailing slash."""
    parts = urlsplit(servers.management_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def administrator(servers: Servers) -> httpx2.Client:
    """Return a client of the management API."""
    return client(management_address(servers), auth=management_login(servers))


def definitions(nodes: int) -> dict[str, Any]:
    """Return `definitions.json` for a broker of so many nodes.

    In a cluster RPC queues are replicated, too: a classic queue is away with its node.
    """
    found: dict[str, Any] = json.loads((FOLDER / "definitions.json").read_text())
    for queue in found["queues"]:
        if queue["name"] in RPC_QUEUES and nodes >= _CLUSTER:
            queue["arguments"]["x-queue-type"] = "quorum"
    return found


def _warn(api: Api, nodes: int, progress: Callable[[str], None]) -> None:
    if nodes < _CLUSTER:
        return
    version = api.call("GET", "/api/overview")["rabbitmq_version"]
    if int(version.partition(".")[0]) < _FIT_FOR_CLUSTERS:
        progress(f"a cluster of RabbitMQ {version} loses usage events with a node; from 4 on it does not")


def declare(api: Api, servers: Servers, realm: Realm, wanted: dict[str, Any], *, timeout_s: float) -> None:
    """Have these definitions in the realm's vhost. RPC queues of another type are replaced."""
    had = _queues(api, realm)
    for queue in wanted["queues"]:
        there = had.get(queue["name"])
        if there and queue["name"] in RPC_QUEUES and there["type"] != queue["arguments"]["x-queue-type"]:
            # Its services lose it, and start anew.
            api.call("DELETE", f"/api/queues/{realm.name}/{queue['name']}", absent_ok=True)
    api.call("POST", f"/api/definitions/{realm.name}", wanted)
    wait_for("rabbitmq", lambda: _check_queues(api, servers, realm, wanted), timeout_s=timeout_s)
    if not had.keys() >= {queue["name"] for queue in wanted["queues"]}:
        time.sleep(_SETTLE_S)


def _queues(api: Api, realm: Realm) -> dict[str, dict[str, Any]]:
    return {queue["name"]: queue for queue in api.call("GET", f"/api/queues/{realm.name}")}


def _allow_administrator(api: Api, servers: Servers, realm: Realm) -> None:
    """Importing definitions into a vhost needs rights there."""
    user, _ = management_login(servers)
    api.call("PUT", f"/api/permissions/{realm.name}/{quote(user, safe='')}", _ALL)


def _users(api: Api, realm: Realm, known: Mapping[str, str]) -> dict[str, str]:
    passwords = {who: known.get(who) or secrets.token_urlsafe(24) for who in (ADMIN, *permissions())}
    _user(api, realm.login(ADMIN), passwords[ADMIN], tags="administrator")
    api.call("PUT", f"/api/permissions/{realm.name}/{realm.login(ADMIN)}", _ALL)
    for who, rights in permissions().items():
        _permit(api, realm, who, rights, password=passwords[who])
    return passwords


def _permit(api: Api, realm: Realm, who: str, rights: dict[str, Any], *, password: str) -> None:
    user = realm.login(who)
    _user(api, user, password, tags="")
    for exchange, keys in rights["topics"].items():
        topic = {"exchange": exchange, "write": _NOTHING, "read": _NOTHING, **keys}
        api.call("PUT", f"/api/topic-permissions/{realm.name}/{user}", topic)
    names = {right: rights.get(right, _NOTHING) for right in _ALL}
    api.call("PUT", f"/api/permissions/{realm.name}/{user}", names)


def _user(api: Api, name: str, password: str, *, tags: str) -> None:
    api.call("PUT", f"/api/users/{name}", {"password": password, "tags": tags})


def _check_queues(api: Api, servers: Servers, realm: Realm, wanted: dict[str, Any]) -> None:
    """Every queue wanted is there, with these arguments and, where it is replicated, a leader."""
    found = _queues(api, realm)
    for queue in wanted["queues"]:
        there = found.get(queue["name"])
        if there is None:
            raise BootstrapError(f"queue {queue['name']} is missing")
        if not queue["arguments"].items() <= there["arguments"].items():
            raise BootstrapError(f"queue {queue['name']} was declared with other arguments")
        _check_leader(api, servers, realm, there)


def _check_leader(api: Api, servers: Servers, realm: Realm, queue: dict[str, Any]) -> None:
    """Raise BootstrapError when a replicated queue has no leader.

    The statistics say it some seconds after a queue's or the broker's start. Until then the queue is asked
    for what only a leader can do.
    """
    if queue["type"] == "classic" or queue.get("leader") or queue.get("online"):
        return
    if queue["type"] == "stream":
        check_stream(_administrator_url(servers, realm), queue["name"])
    else:
        look = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        api.call("POST", f"/api/queues/{realm.name}/{queue['name']}/get", look)


def _administrator_url(servers: Servers, realm: Realm) -> str:
    user, password = management_login(servers)
    return url_for(servers.amqp_url, user=user, password=password, path=realm.name)
