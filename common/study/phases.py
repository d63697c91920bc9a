"""The phases of a study. Their string form is what messages, checkpoints, seeds and the accounts of privacy share."""

from dataclasses import dataclass
from enum import StrEnum


class PhaseKind(StrEnum):
    """What happens in a phase that other code has to tell apart."""

    GAN = "gan"
    CLASSIFIER = "classifier"
    ARMS = "arms"
    FEDERATED = "federated"
    CROSS_SITE = "cross_site"
    SCORES = "scores"
    """Of mechanisms only: noised figures on test patients, with the phase of the question after it."""


@dataclass(frozen=True)
class Phase:
    """A phase by its parts.

    Attributes:
        kind: what happens in it; a :class:`PhaseKind`, or another word.
        name: the GAN, arm or site that it is about; may be empty.
        of: the rest: the trial or run, or the arm of another site's classifier; may be empty.

    >>> str(Phase(PhaseKind.GAN, "cgan", "run-2")), Phase.parse("cross_site/north/blob").of
    ('gan/cgan/run-2', 'blob')
    """

    kind: str
    name: str = ""
    of: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.name, self.of) if part)

    @property
    def label(self) -> str:
        """Without the kind."""
        return "/".join(part for part in (self.name, self.of) if part)

    @classmethod
    def parse(cls, text: str) -> "Phase":
        """The parts of a phase, or of a mechanism in the accounts of privacy, which begins with one."""
        kind, _, rest = text.partition("/")
        name, _, of = rest.partition("/")
        return cls(kind, name, of)


def gan_phase(name: str, run: int, of: str = "") -> str:
    """The phase of one training of a GAN; ``of`` names the trial that it is trained for, its run included.

    >>> gan_phase("cgan", 1), gan_phase("cgan", 2), gan_phase("cgan", 2, "run-2/fold-1")
    ('gan/cgan', 'gan/cgan/run-2', 'gan/cgan/run-2/fold-1')
    """
    return str(Phase(PhaseKind.GAN, name, of or (f"run-{run}" if run > 1 else "")))


def classifier_phase(arm: str) -> str:
    """The phase of the federated classifier of one arm.

    >>> classifier_phase("real")
    'classifier/real'
    """
    return str(Phase(PhaseKind.CLASSIFIER, arm))
