"""A study of three hospitals, an external centre and a reference set, small enough to train in seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from common.study.config import compose
from common.study.progress import NoProgress
from server.settings import StudySettings

LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (10, 44, 40)


@dataclass(frozen=True)
class TinyStudy:
    """Folders in BraTS format and the overrides that run a study on them."""

    root: Path
    overrides: tuple[str, ...]

    def with_output(self, folder: Path, *more: str) -> list[str]:
        """Overrides for a run whose results and cache go below ``folder``."""
        places = (f"simulation.runs_dir={folder / 'runs'}", f"simulation.cache_dir={folder / 'cache'}")
        return [*self.overrides, *places, *more]

    def settings(self, folder: Path) -> StudySettings:
        """A coordinator's settings of a run whose results and cache go below ``folder``."""
        return StudySettings(
            experiment=compose(self.with_output(folder)),
            name="run",
            run_dir=folder / "runs" / "run",
            sites=3,
            reference={"brain": self.root / "reference"},
            cache_dir=folder / "cache",
            progress=NoProgress(),
            engine="in_process",
        )


def write_patient(
    root: Path,
    name: str,
    *,
    tumour: bool,
    seed: int,
    plant: Callable[[np.ndarray], None] | None = None,
    contrasts: Sequence[str] = ("flair",),
) -> None:
    """A tiny BraTS case: an ellipse of tissue, with a bright lesion or without. T2 shows FLAIR's tissue inverted."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    brain = (y / 0.85) ** 2 + (x / 0.8) ** 2 < 1
    image = np.where(brain, random.normal(300, 25, SHAPE) + 40 * np.sin(5 * x), 0)
    labels = np.zeros(SHAPE, np.uint8)
    if tumour:
        cy, cx = random.uniform(-0.35, 0.35, 2)
        distance = np.sqrt(((z - 0.1) / 1.3) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
        labels[(distance < 0.33) & brain] = 2
        labels[(distance < 0.22) & brain] = 4
        labels[(distance < 0.12) & brain] = 1
        image = image + np.select([labels == 1, labels == 2, labels == 4], [-120, 90, 170], 0)
    if plant is not None:
        plant(image)
    folder = root / name
    folder.mkdir(parents=True)
    shown = np.clip(image, 0, None)
    images = {one: np.where(brain, 700 - shown, 0).clip(0) if one == "t2" else shown for one in contrasts}
    for role, values in (*((one, values.astype(np.int16)) for one, values in images.items()), ("seg", labels)):
        nib.save(
            nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), LPS_AFFINE),
            folder / f"{name}_{role}.nii.gz",
        )


def write_site(root: Path, patients: int, *, seed: int, contrasts: Sequence[str] = ("flair",)) -> Path:
    """A folder of patients, three of four with a tumour."""
    for index in range(patients):
        tumour, name = index % 4 != 3, f"case-{seed}-{index:02d}"
        write_patient(root, name, tumour=tumour, seed=1000 * seed + index, contrasts=contrasts)
    return root


TINY = (
    "preset=demo",
    "model=[cgan]",
    "site=brain",
    "image.size=32",
    "image.min_foreground=0.05",
    "split.train=4",
    "split.validation=0",
    "split.test=6",
    "models.cgan.width=4",
    "models.cgan.depth=2",
    "models.cgan.finetune_steps=2",
    "models.cgan.discriminator_width=4",
    "models.cgan.crop=32",
    "models.cgan.perceptual_weight=0",
    "models.cgan.min_slices=1",
    "organs.brain.min_tumour_pixels=4",
    "study.bootstrap=50",
    "federation.rounds=2",
    "federation.local_steps=2",
    "classifier.width=4",
    "classifier.batch_size=4",
    "classifier.federation.rounds=2",
    "classifier.federation.local_steps=2",
    "evaluation.paired_images=6",
    "evaluation.frechet_images=6",
    "evaluation.gallery=4",
    "simulation.threads=1",
    "privacy.dp_step_fraction=1",
)

TINY_WGAN = (
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.batch_size=4",
    "models.wgan_gp.n_critic=1",
    "models.wgan_gp.federation.local_steps=2",
    "models.wgan_gp.federation.rounds=2",
)

TINY_CYCLEGAN = (
    "models.cyclegan.width=4",
    "models.cyclegan.federation.local_steps=2",
    "models.cyclegan.federation.rounds=2",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=4",
    "models.cyclegan.discriminator_layers=1",
    "models.cyclegan.batch_size=2",
)
