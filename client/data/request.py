"""One message at this site: what it asks, about which trial, and what the process remembers of earlier ones."""

from dataclasses import dataclass, field
from typing import Any

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.policy.behind import Behind
from client.privacy.gradients import GradSampleMode
from client.privacy.training import Means
from common.imaging.slices import Slices
from common.protocol.records import Instruction
from common.training.trainer import Trainer


@dataclass(frozen=True)
class Memory:
    """What a process keeps of a study between two messages; after a restart it is found again, and takes time.

    Attributes:
        trainers: those that stay built between the exchanges of a round, by phase.
        modes: how gradients of single patients are found the fastest, by phase and optimiser, as measured.
        recorded: training patients who are written down (:mod:`client.privacy.trained`).
    """

    trainers: dict[str, Trainer[Any]] = field(default_factory=dict)
    modes: dict[str, dict[str, GradSampleMode]] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Request:
    """A message that is being answered.

    Attributes:
        instruction: what the coordinator asks for.
        data: of the trial that is meant.
        work: its folder.
        scored: the test patients that are scored; None for all of them (:mod:`client.privacy.questions`).
        memory: of the study, in this process.
        means: of private training.
        behind: counts what the training draws (:mod:`client.policy.updates`).
    """

    instruction: Instruction
    data: SiteData
    work: WorkFolder
    scored: Slices | None = None
    memory: Memory = field(default_factory=Memory)
    means: Means = field(default_factory=Means)
    behind: Behind = field(default_factory=Behind)

    @property
    def study(self) -> StudyContext:
        return self.data.study

    @property
    def test(self) -> Slices:
        """The slices that classifiers are tested on."""
        return self.data.test if self.scored is None else self.scored
