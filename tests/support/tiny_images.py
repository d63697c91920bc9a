"""A tiny data set of CT slices as plain 2D images, sorted by class: one folder of a hospital that has no DICOM."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_image_site(
    root: Path, patients: int, *, seed: int, masks: bool = True, named: bool = True, classes: str = "both"
) -> Path:
    """Each patient has three slices with a bright spot and three without, 40 pixels along each side.

    Args:
        masks: whether the spots are outlined.
        named: whether ``patients.csv`` says whose image it is.
        classes: ``both``, or ``tumour`` alone.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    body = np.hypot(y - 19.5, x - 19.5) < 17
    rows = []
    for patient in range(patients):
        for number in range(6):
            tumour = number < 3
            if not tumour and classes == "tumour":
                continue
            spot = np.hypot(y - random.uniform(13, 26), x - random.uniform(13, 26)) < random.uniform(3, 5)
            image = np.where(body, 120 + random.normal(0, 8, body.shape), 0)
            image = np.where(spot & tumour, 220, image).clip(0, 255).astype(np.uint8)
            name = f"{'tumour' if tumour else 'healthy'}/p{seed}-{patient:02d}-{number}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / name)
            rows.append((name, f"p{seed}-{patient:02d}"))
            if tumour and masks:
                mask = root / name.replace(".png", "_mask.png")
                Image.fromarray(np.where(spot, 255, 0).astype(np.uint8)).save(mask)
    (root / "healthy").mkdir(exist_ok=True)
    if named:
        with (root / "patients.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "patient"))
            writer.writerows(rows)
    return root
