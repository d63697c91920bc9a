"""First weights that already know public images: trained by the coordinator on its own part of the reference set.

These patients are public, so nothing of a site's privacy is spent on them. The part is neither the one that rounds are
chosen on nor the one that the report's figures come from.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from common.errors import StudyError
from common.figures.figure import ImageScores
from common.figures.formatting import plural
from common.imaging.slices import Slices
from common.seeding import derive_seed
from common.system.array_files import read_tensors, write_tensors
from common.system.files import read_json, write_json
from common.training.finite import all_finite
from common.training.trainer import Trainer, View
from server.checkpoint import PhaseCheckpoints
from server.reference import reference_part
from server.settings import StudySettings

PART = "pretraining"
FILE = "pretrained.safetensors"
SCORES = "pretrained.json"


def pretraining_phase(phase: str) -> str:
    """What the pre-training of ``phase`` is called.

    >>> pretraining_phase("gan/cgan")
    'pretraining/gan/cgan'
    """
    return f"{PART}/{phase}"


def pretrained(
    settings: StudySettings,
    phase: str,
    trainer: Trainer[Any],
    views: Sequence[View],
    steps: int,
) -> dict[str, Tensor]:
    """The first weights of ``phase``: those of ``trainer``, after ``steps`` steps on public slices where there are any.

    Args:
        phase: of the training that starts from them.
        trainer: freshly built; it is trained.
        views: what its sites show it, each once.
        steps: in all, shared out over the views; 0 leaves the trainer as it is.

    Raises:
        DataError: if the reference set has no such part.
        StudyError: if the weights are no numbers any more; they are not kept.
    """
    if not steps:
        return trainer.shared_arrays()
    file = PhaseCheckpoints(settings.run_dir, phase).folder / FILE
    if not file.exists():
        started = time.monotonic()
        settings.progress.phase(pretraining_phase(phase), 1)
        sources = [public_slices(settings, view) for view in views if view.organ in settings.reference]
        count = plural(sum(len(source) for source in sources), "public slice")
        settings.progress.message(f"{phase}: {steps} steps on {count} before the first round")
        losses = trainer.pretrain(sources, steps, derive_seed(settings.experiment.seed, PART, phase)) if sources else {}
        first = trainer.shared_arrays()
        if not all_finite([*first.values(), *losses.values()]):
            raise StudyError(
                f"{pretraining_phase(phase)}: came to values that are not finite; lower the learning rate, or set "
                "pretraining.gan_steps and pretraining.classifier_steps to 0, in a new run"
            )
        write_tensors(file, first)
        settings.progress.advance(
            round=1, contributors=[], losses=losses, scores={}, seconds=time.monotonic() - started
        )
    return read_tensors(file)


def public_slices(settings: StudySettings, view: View) -> Slices:
    """The coordinator's own part of the reference set, as the sites show theirs."""
    return reference_part(settings, view.organ, PART, contrasts=view.contrasts)


def keep_scores(settings: StudySettings, phase: str, scores: Mapping[str, ImageScores]) -> Any:
    """What the pre-trained weights reach before the first round; kept, so that it is measured once."""
    kept = {subject: one.model_dump() for subject, one in scores.items()}
    write_json(PhaseCheckpoints(settings.run_dir, phase).folder / SCORES, kept)
    return kept


def kept_scores(settings: StudySettings, phase: str) -> Any | None:
    """What :func:`keep_scores` kept."""
    file = PhaseCheckpoints(settings.run_dir, phase).folder / SCORES
    return read_json(file) if file.exists() else None
