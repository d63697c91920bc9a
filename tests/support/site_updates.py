"""Updates of a round, as the round loop hands them to an aggregator."""

from collections.abc import Mapping

import torch
from flwr.app import Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from torch import Tensor

from common.protocol.records import ARRAYS, METRICS, to_arrays
from server.aggregators.aggregator import Update

EXAMPLES = {"hospital1": 37, "hospital2": 11, "hospital3": 203}
SHAPES = {"generator.w": (3, 4), "generator.b": (), "discriminator.w": (5,)}


def weights(seed: int) -> dict[str, Tensor]:
    """Weights of two networks, one of them a scalar."""
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draws) for name, shape in SHAPES.items()}


def updates(current: Mapping[str, Tensor], server_round: int) -> dict[str, Update]:
    """What three sites answer in a round that starts from ``current``."""
    found = {}
    for number, site in enumerate(EXAMPLES, start=1):
        step = weights(10 * server_round + number)
        found[site] = Update({key: value + step[key] / 7 for key, value in current.items()}, {"l1": number / 3})
    return found


def flower_messages(given: Mapping[str, Update]) -> list[Message]:
    """The same updates as Flower's strategies take them."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    return [
        Message(
            RecordDict(
                {
                    ARRAYS: to_arrays(update.arrays),
                    METRICS: MetricRecord({"num-examples": EXAMPLES[site], "loss.l1": update.losses["l1"]}),
                }
            ),
            dst_node_id=1,
            message_type="train",
        )
        for site, update in given.items()
    ]
