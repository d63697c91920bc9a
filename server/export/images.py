"""Synthetic sets made with the chosen round of a GAN, by what kind of model it is.

What needs an image to begin with begins with the coordinator's own reference set, which is public; no site is asked
for anything. Its part for pre-training is taken, so that whoever trains on the set has not seen the slices that
generators are chosen and scored on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from common.errors import ConfigError, DataError
from common.export.manifest import Content
from common.export.provenance import Provenance
from common.export.synthetic import SyntheticSet
from common.imaging.slices import Slices
from common.seeding import Label, derive_seed, numpy_generator
from common.study.conditions import condition_code
from common.training.kinds import GeneratorTrainer, PairedTranslationTrainer, SamplingTrainer, TranslatingTrainer
from common.training.trainer import Trainer, View

PART = "pretraining"

Reference = Callable[[View], Slices]
"""The reference set's slices in a view."""

Sets = dict[str, Callable[[], SyntheticSet]]


def synthetic_sets(
    trainer: Trainer[Any],
    subjects: dict[str, tuple[View, ...]],
    provenance: Provenance,
    reference: Reference,
    *,
    count: int,
    seed: int,
) -> Sets:
    """The sets that this model can make, by subject; each is made when it is called.

    Args:
        trainer: holds the weights.
        subjects: what the model is about, as :meth:`Trainer.subjects` names it.
        provenance: of the weights.
        reference: gives slices to begin with where the model needs them.
        count: images of each set; a translation makes at most one of each slice of the reference set.
        seed: the same seed gives the same sets.

    Raises:
        ConfigError: for a model that makes no images, or when a set is made, whose reference set is not known.
        DataError: when a set is made, if the reference set cannot be used.
    """
    sets: Sets = {}
    for index, (subject, views) in enumerate(subjects.items()):
        own = derive_seed(seed, Label.EXPORT, provenance.model, subject)
        if isinstance(trainer, SamplingTrainer):
            sets[subject] = partial(_sampled, trainer, views[0], provenance, count, own)
        elif isinstance(trainer, GeneratorTrainer):
            sets[subject] = partial(_inserted, trainer, views[0], provenance, reference, count, own)
        elif isinstance(trainer, TranslatingTrainer):
            sets[subject] = partial(_translated, trainer, index, views, provenance, reference, count, own)
        elif isinstance(trainer, PairedTranslationTrainer):
            sets[subject] = partial(_translated_in_pairs, trainer, views, provenance, reference, count, own)
        else:
            raise ConfigError(f"{provenance.model}: models of the family {provenance.family} make no images")
    return sets


def _sampled(trainer: SamplingTrainer[Any], view: View, provenance: Provenance, count: int, seed: int) -> SyntheticSet:
    """Half of them (and the odd one) with a tumour. There are no masks."""
    tumour = torch.arange(count) < count - count // 2
    images = trainer.sample(tumour, condition_code(view.organ, view.contrasts), seed)
    return _set(images, None, tumour, view, Content.GENERATED, provenance)


def _inserted(
    trainer: GeneratorTrainer[Any], view: View, provenance: Provenance, reference: Reference, count: int, seed: int
) -> SyntheticSet:
    """Tumours put into healthy slices, and regions of the same slices filled without one."""
    made = trainer.synthesise(reference(view), count, seed)
    return _set(made.images, made.labels, made.tumour, view, Content.ALTERED, provenance)


def _translated(
    trainer: TranslatingTrainer[Any],
    index: int,
    views: tuple[View, ...],
    provenance: Provenance,
    reference: Reference,
    count: int,
    seed: int,
) -> SyntheticSet:
    """No label maps: the generator was told none, so a lesion may have been lost or moved."""
    source, target = views
    slices = reference(source)
    chosen = _clear_slices(slices, count, seed)
    images = trainer.translate(slices.batch(chosen).images, index)
    tumour = torch.from_numpy(slices.tumour_class()[chosen])
    return _set(images, None, tumour, target, Content.ALTERED, provenance)


def _translated_in_pairs(
    trainer: PairedTranslationTrainer[Any],
    views: tuple[View, ...],
    provenance: Provenance,
    reference: Reference,
    count: int,
    seed: int,
) -> SyntheticSet:
    """With the label maps that the generator was told."""
    source, target = views
    slices = reference(source)
    batch = slices.batch(_clear_slices(slices, count, seed))
    tumour = batch.tumour_pixels() > 0
    return _set(trainer.translate(batch), batch.labels, tumour, target, Content.ALTERED, provenance)


def _clear_slices(slices: Slices, count: int, seed: int) -> npt.NDArray[np.int64]:
    """At most ``count`` positions, drawn from those whose class is beyond doubt: a tumour with a mask, or none at all.

    Raises:
        DataError: if there are none.
    """
    clear = np.sort(np.concatenate([slices.tumour_positions(), slices.healthy_positions()]))
    if not len(clear):
        raise DataError(f"the reference set of the {slices.organ} has no slice to translate")
    return np.sort(numpy_generator(seed, Label.SLICES).permutation(clear)[:count])


def _set(
    images: torch.Tensor,
    labels: torch.Tensor | None,
    tumour: torch.Tensor,
    view: View,
    content: Content,
    provenance: Provenance,
) -> SyntheticSet:
    return SyntheticSet(
        images=images.numpy(),
        labels=None if labels is None else labels.numpy(),
        tumour=tumour.numpy(),
        organ=view.organ,
        contrasts=view.contrasts,
        content=content,
        provenance=provenance,
        public=content is Content.ALTERED,
    )


def subject_folder(subject: str) -> str:
    """The folder of a subject's set.

    >>> subject_folder("brain t1 to brain t2")
    'images-brain-t1-to-brain-t2'
    """
    return "-".join(["images", *"".join(c if c.isalnum() else " " for c in subject.lower()).split()])
