"""What each action and each exchange does in a private run: declared here, and refused where nothing is declared.

The coordinator is the adversary: whatever leaves a site in a private run is noised and paid for, or does not depend on
training patients. docs/threat-model.md says for each message why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from common.protocol.actions import Action
from common.training.trainer import Exchange


class Leaves(StrEnum):
    """What the answer to a message may depend on, in a private run."""

    DECLARED = "what the hospital declared, the study, and what was paid so far"
    NOISED = "training patients, through noised steps that were charged"
    NOTHING = "nothing: it says that it is done"
    TEST = "test patients, in figures over at least min_cell of them, each question counted"
    MODEL = "weights that the coordinator sent, and no patient"
    REFUSED = "refused"


@dataclass(frozen=True)
class Declared:
    """One action.

    Attributes:
        leaves: what its answer depends on.
        trains: whether training patients are looked at for it.
        tests: whether figures on test patients are found out for it; in a study that is not private they leave.
        updates: whether weights that were trained here leave with the answer.
    """

    leaves: Leaves
    trains: bool = False
    tests: bool = False
    updates: bool = False


ACTIONS: Mapping[Action, Declared] = {
    Action.HELLO: Declared(Leaves.DECLARED),
    Action.TRAIN_GAN: Declared(Leaves.NOISED, trains=True, updates=True),
    Action.SYNTHESISE: Declared(Leaves.NOTHING, trains=True),
    Action.ARMS: Declared(Leaves.NOTHING, trains=True, tests=True),
    Action.SITE_MODEL: Declared(Leaves.REFUSED, trains=True, updates=True),
    Action.TRAIN_CLASSIFIER: Declared(Leaves.NOISED, trains=True, updates=True),
    Action.EVALUATE: Declared(Leaves.TEST, tests=True),
    Action.RELEASE: Declared(Leaves.MODEL),
    Action.TAKE_PROXIES: Declared(Leaves.NOTHING),
    Action.PRIVACY: Declared(Leaves.DECLARED),
}

EXCHANGES: Mapping[Exchange, Leaves] = {
    Exchange.AVERAGE: Leaves.NOISED,
    Exchange.PROXIES: Leaves.NOISED,
    Exchange.GRADIENTS: Leaves.REFUSED,
}
