"""Real slices beside synthetic ones, kept for the site report: drawn by a fixed seed, not picked."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.slices import kept_here
from client.study.arms import has_images, made_images
from common.seeding import Label, numpy_generator
from common.system.array_files import write_arrays


def keep_gallery(data: SiteData, work: WorkFolder) -> None:
    """Writes some of each kind that there is, in place of earlier ones."""
    study, slices = data.study, kept_here(data)
    wanted = study.experiment.evaluation.gallery
    random = numpy_generator(study.experiment.seed, study.settings.name, Label.GALLERY)
    arrays: dict[str, np.ndarray[Any, Any]] = {}

    def add(name: str, images: Tensor, labels: Tensor) -> None:
        arrays[name] = images[:, 0].numpy().astype(np.float32)
        arrays[f"{name}_labels"] = labels.numpy()

    for name, positions in (
        ("real_tumour", np.flatnonzero(slices.tumour_class())),
        ("real_healthy", slices.healthy_positions()),
    ):
        batch = slices.batch(np.sort(random.permutation(positions)[:wanted]))
        add(name, batch.images, batch.labels)
    for name, source, tumour in (
        ("synthetic_tumour", "synthetic", True),
        ("synthetic_healthy", "synthetic", False),
        ("copy_paste", "copy_paste", True),
        ("blob", "blob", True),
    ):
        if not has_images(work, source):
            continue
        made = made_images(work, source)
        positions = np.flatnonzero(made.tumour.numpy() == tumour)
        chosen = torch.from_numpy(np.sort(random.permutation(positions)[:wanted]))
        add(name, made.images[chosen], made.labels[chosen])
    write_arrays(work.results / "gallery.npz", arrays)
