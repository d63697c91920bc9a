"""Made-up patients for a canary: any organ and contrasts, each patient from its name alone, without a file format."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.site import SiteSettings
from common.imaging.patient import Patient, StudyLocation

SHAPE = (6, 48, 48)


def write_phantoms(root: Path, names: list[str]) -> None:
    """A file a patient (or an image, where nobody is known), of which only the name counts."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / f"{name}.phantom").write_text(name)


@dataclass(frozen=True)
class PhantomReader:
    """Ellipses of tissue, most of them with a bright lesion in some slices.

    Attributes:
        organ: of the patients.
        contrasts: of the images.
        patients_known: False: each file counts as one, as in a data set that names no patients.
    """

    organ: str
    contrasts: tuple[str, ...]
    patients_known: bool = True

    def find(self, root: Path) -> list[StudyLocation]:
        """One study a file."""
        files = sorted(root.glob("*.phantom"))
        return [StudyLocation(file.stem, file, (file,), self.patients_known) for file in files]

    def read(self, location: StudyLocation) -> Patient:
        """The patient that its name makes."""
        random = np.random.default_rng(zlib.crc32(location.patient.encode()))
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
        inside = (y / 0.85) ** 2 + (x / 0.8) ** 2 < 1
        cy, cx = random.uniform(-0.35, 0.35, 2)
        labels = np.where((y - cy) ** 2 + (x - cx) ** 2 < 0.08, 1, 0).astype(np.uint8) * inside * (z > 0)
        images = np.stack(
            [
                np.where(inside, random.normal(400, 60, SHAPE) + 300 * (labels > 0) + 80 * np.sin(4 * x + shift), 0.0)
                for shift in random.uniform(0, 6, len(self.contrasts))
            ]
        )
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=images.astype(np.float32),
            labels=labels.astype(np.uint8),
            spacing=(1.0, 1.0, 1.0),
            source=location.path,
            organ_mask=inside.astype(np.uint8),
        )


def phantom_settings(
    name: str, organ: str, contrasts: list[str], data: Path, folder: Path, **more: object
) -> SiteSettings:
    """The settings of a made-up hospital, everything below ``folder``."""
    return SiteSettings.model_validate(
        {
            "name": name,
            "reader": "brats",
            "organ": organ,
            "path": data,
            "contrasts": contrasts,
            "folder": folder,
            "cache_dir": folder.parent / "cache",
            "threads": 1,
            "may_release_synthetic": True,
            **more,
        }
    )
