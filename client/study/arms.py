"""What each arm of the classifier study is trained on at this site."""

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.policy.behind import Behind
from client.privacy.slices import kept_here
from client.study.baselines import blob, copy_and_paste
from client.study.placement import placement
from common.errors import RefusalError
from common.study.experiment import ARMS
from common.study.trials import arms_of
from common.system.array_files import read_arrays, write_arrays
from common.training.build import tumour_share
from common.training.classifier import TrainingSet
from common.training.kinds import GeneratorTrainer, SyntheticSlices

SOURCES: dict[str, tuple[bool, str | None]] = {
    "real": (True, None),
    "real_synthetic": (True, "synthetic"),
    "synthetic": (False, "synthetic"),
    "copy_paste": (True, "copy_paste"),
    "blob": (True, "blob"),
    "local_generator": (True, "local"),
}
"""Arm -> whether real slices are in it, and which synthetic ones."""

assert tuple(SOURCES) == ARMS


def make_images(data: SiteData, work: WorkFolder, trainer: GeneratorTrainer[object], seed: int) -> None:
    """Makes and keeps this site's synthetic slices and those of the two plain baselines: equal numbers of each.

    In a trial of another GAN's images there are no baselines: they stand in the first trial. Nor are there any where
    tumours have no masks that could be put elsewhere; that is told at hello (:mod:`client.hello.tasks`).
    """
    slices, count = kept_here(data), images_wanted(data)
    keep_images(data, work, "synthetic", trainer.synthesise(slices, count, seed))
    if not data.study.trial.images and len(slices.tumour_positions()):
        keep_images(data, work, "copy_paste", copy_and_paste(slices, count, seed))
        keep_images(data, work, "blob", blob(slices, count, seed))


def images_wanted(data: SiteData) -> int:
    """How many slices of each kind are made in this trial."""
    return max(2, round(synthetic_ratio(data.study) * len(kept_here(data))))


def synthetic_ratio(study: StudyContext) -> float:
    """Synthetic slices for each real one in this trial."""
    return study.trial.ratio or study.experiment.study.synthetic_ratio


def told_share(data: SiteData) -> float:
    """Share of tumours among this site's real training slices, in whatever arm; a half where patients are private,
    whose slices are not drawn by class and of whom nothing is told that is not paid for."""
    return 0.5 if data.study.private else tumour_share([data.training])


def possible_arms(study: StudyContext, work: WorkFolder) -> list[str]:
    """The arms of this trial that this site can train: those with synthetic images only if it has made some."""
    made = [arm for arm, (_, name) in SOURCES.items() if name is None or has_images(work, name)]
    return [arm for arm in arms_of(study.experiment, study.trial) if arm in made]


def has_images(work: WorkFolder, name: str) -> bool:
    """Whether slices of that name were made in this trial."""
    return work.images(name).exists()


def learnt_from(work: WorkFolder) -> set[str]:
    """Names of this site's patients that the kept images of this trial were made from, or by a generator of."""
    files = [work.images(name) for _, name in SOURCES.values() if name is not None]
    return {str(name) for file in files if file.exists() for name in read_arrays(file, "learnt_from")["learnt_from"]}


def training_sets(data: SiteData, work: WorkFolder, arm: str, behind: Behind | None = None) -> list[TrainingSet]:
    """Where ``arm`` draws its training slices from; a synthetic one is drawn ``ratio`` times as often as a real one.

    Args:
        behind: counts what is drawn; None where nothing of it leaves.

    Raises:
        RefusalError: for an unknown arm, or if the images it needs were not made here yet.
    """
    if arm not in SOURCES:
        raise RefusalError("it does not know this arm of the study")
    real, made = SOURCES[arm]
    slices, sources, counted = kept_here(data), [], behind or Behind()
    if real:
        sources.append(replace(TrainingSet.from_slices(slices), drawn=partial(counted.count, slices)))
    if made is not None:
        images = made_images(work, made)
        sources.append(
            replace(
                TrainingSet.from_synthetic(images, weight=synthetic_ratio(data.study)),
                drawn=lambda drawn: counted.count(slices, images.origin[drawn]),
            )
        )
    return sources


def made_images(work: WorkFolder, name: str) -> SyntheticSlices:
    """The kept ``synthetic``, ``copy_paste``, ``blob`` or ``local`` slices.

    Raises:
        RefusalError: if they were not made in this run.
    """
    arrays = _kept(work, name)
    return SyntheticSlices(
        images=torch.from_numpy(arrays["images"]).float(),
        labels=torch.from_numpy(arrays["labels"]),
        tumour=torch.from_numpy(arrays["tumour"]),
        foreground=torch.from_numpy(arrays["foreground"]),
        origin=torch.from_numpy(arrays["origin"]),
    )


def made_of(work: WorkFolder, name: str) -> Tensor:
    """(N,) int64: of which training patient each kept slice was made, where they are made patient by patient.

    Raises:
        RefusalError: if they were not made in this run, or not so.
    """
    arrays = _kept(work, name)
    if "owner" not in arrays:
        raise RefusalError("its synthetic images were not made patient by patient; begin a new run")
    return torch.from_numpy(arrays["owner"])


def _kept(work: WorkFolder, name: str) -> dict[str, Any]:
    path = work.images(name)
    if not path.exists():
        raise RefusalError("it has not made its synthetic images yet")
    return read_arrays(path)


def keep_images(
    data: SiteData, work: WorkFolder, name: str, made: SyntheticSlices, owner: Tensor | None = None
) -> None:
    """Keeps slices that were made at this site, which patients were learnt from, and where lesions lie: all stay here.

    Args:
        owner: (N,) of which training patient each was made, where one patient alone is behind it.
    """
    tensors: dict[str, Tensor] = {
        "images": made.images.half(),
        "labels": made.labels,
        "tumour": made.tumour,
        "foreground": made.foreground,
        "origin": made.origin,
        **({"owner": owner} if owner is not None else {}),
    }
    names = np.array(data.split.train, dtype=np.str_)
    arrays = {key: np.asarray(value) for key, value in tensors.items()}
    write_arrays(work.images(name), {**arrays, "learnt_from": names})
    if found := placement(made, kept_here(data)):
        work.update_result("places.json", name, asdict(found))
