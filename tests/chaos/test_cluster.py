"""A RabbitMQ cluster loses nodes under load: without one all goes on, and in the end everything adds up.

In the environment: `RABBITMQ_SERVER`, the server's script, if the installed one is older than 4.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from infra.event_stream import EventStream
from infra.local.home import Home
from infra.local.install import rabbitmq_server
from shared.contracts.topology import INFERENCE_RUNS
from tests.acceptance.house import eventually
from tests.chaos.experiment import Tally, experiment
from tests.chaos.grounds import Grounds, open_grounds
from tests.chaos.load import under_load
from tests.cluster import Cluster, running_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_TIMES: Final = 5
_CALLERS: Final = 8
_WHOLE_S: Final = 60.0


async def test_the_node_that_leads_the_queue_of_runs_is_lost(home: Home, tmp_path: Path) -> None:
    script = Path(os.environ.get("RABBITMQ_SERVER") or rabbitmq_server(print))
    async with running_cluster(tmp_path, script) as cluster:
        version = await cluster.version()
        assert int(version.partition(".")[0]) >= 4, f"RabbitMQ {version} loses events with a node"
        async with (
            open_grounds(home, tmp_path, steady=2, billings=2, cluster=cluster) as at,
            experiment("cluster", at) as tally,
        ):
            await _lose_leaders(at, tally, cluster)


async def _lose_leaders(at: Grounds, tally: Tally, cluster: Cluster) -> None:
    """One after the other, each for as long as it takes to see that it is not needed."""
    async with under_load(at, tally, callers=_CALLERS) as load:
        for _ in range(_TIMES):
            leader = await cluster.leader_of(INFERENCE_RUNS)
            await cluster.kill(leader)
            tally.kills += 1
            await load.until_served()
            await cluster.start(leader)
            await eventually(cluster.is_whole, "the cluster is whole", timeout_s=_WHOLE_S)
            await load.until_served()
    await eventually(
        lambda: _is_read_everywhere(at, cluster), "every node has the stream again", timeout_s=_WHOLE_S
    )


async def _is_read_everywhere(at: Grounds, cluster: Cluster) -> bool:
    analysts = at.house.realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    try:
        for node in cluster.nodes:
            await EventStream(node.at(analysts)).end()
    except OSError:
        return False
    return True
