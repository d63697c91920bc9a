"""How long does one patient take from files to the cache? Ours over a MONAI Compose of the same steps, organ by organ.

Both sides start from the files on disk (NIfTI for the brain, DICOM for lung and liver) and end with float16 slices of
256 x 256 pixels on disk, with their labels. Phantoms have the size, spacing and noise of real studies. One core each,
interleaved pairs, and which side goes first alternates. Where the two differ, MONAI has less to do: its masks come as
NIfTI (ours as four readers' outlines and as DICOM SEG), it does not look for the lungs but crops to the body, stores no
mask of the foreground or organ, and does not ask whether a header names a person. The last lines of each organ are the
ratios.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK
import torch
from monai import transforms as mt
from monai.data import PersistentDataset
from scipy import ndimage

from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.study.experiment import ImageConfig, PreprocessingConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import dicom_files
import lidc_files

PAIRS = 5
IN_A_ROW = 3
"""Patients of a side before the other has its turn: a site prepares one after another, in memory that is in use."""
SIZE = 256
LEAST = 0.15

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One organ: the folder of its patient and our settings; the same patient's files for MONAI, and its transforms."""

    organ: str
    reader: str
    contrasts: tuple[str, ...]
    steps: PreprocessingConfig
    root: Path
    files: dict[str, str]
    transforms: list[Callable[..., Any]]


def main() -> None:
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    wanted = sys.argv[1:] or ["brain", "lung", "liver"]
    for organ in wanted:
        with tempfile.TemporaryDirectory() as folder:
            compare({"brain": brain, "lung": lung, "liver": liver}[organ](Path(folder)), Path(folder))


def compare(case: Case, folder: Path) -> None:
    sides = {"oncofed": lambda place: ours(case, place), "monai": lambda place: theirs(case, place)}
    kept = {name: run(folder / "warm-up" / name) for name, run in sides.items()}  # neither side pays for first use
    print(f"{case.organ}: {kept['oncofed']} slices kept here, {kept['monai']} by MONAI, which keeps all", flush=True)
    ratios = []
    for pair in range(PAIRS):
        seconds = {}
        for name in sorted(sides, reverse=bool(pair % 2)):
            seconds[name] = per_patient(sides[name], folder / str(pair) / name)
        (wall, processor), (their_wall, their_processor) = seconds["oncofed"], seconds["monai"]
        ratios.append((their_processor / processor, their_wall / wall))
        print(f"  pair {pair + 1} of {PAIRS}: {wall:.2f} s ({processor:.2f} s of the processor), ", end="")
        print(f"MONAI {their_wall:.2f} s ({their_processor:.2f} s)", flush=True)
    for what, column in zip(("processor", "clock"), zip(*ratios, strict=True), strict=True):
        print(f"{case.organ}: MONAI / oncofed by the {what}, median of {PAIRS} pairs: ", end="")
        print(f"{np.median(column):.2f} ({min(column):.2f} to {max(column):.2f})", flush=True)


def per_patient(prepare: Callable[[Path], int], place: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor for one of ``IN_A_ROW`` patients."""
    seconds = processor = 0.0
    for _ in range(IN_A_ROW):
        before = time.perf_counter(), time.process_time()
        prepare(place)
        seconds += time.perf_counter() - before[0]
        processor += time.process_time() - before[1]
        shutil.rmtree(place)  # So that the disk's cache has memory at hand for the next.
    return seconds / IN_A_ROW, processor / IN_A_ROW


def ours(case: Case, place: Path) -> int:
    """Files to cache as a site does it."""
    cohort = prepare_cohort(
        build_reader(case.reader, organ=case.organ, contrasts=case.contrasts, options={}),
        case.root,
        cache_dir=place,
        organ=case.organ,
        contrasts=case.contrasts,
        image=ImageConfig(size=SIZE, min_foreground=LEAST),
        preprocessing=case.steps,
    )
    return cohort.patients[0].slices


def theirs(case: Case, place: Path) -> int:
    """Files to cache as MONAI does it: its PersistentDataset."""
    types = mt.CastToTyped(["image", "label"], dtype=(np.float16, np.uint8))
    chain = mt.Compose([*case.transforms, types, mt.SelectItemsd(["image", "label"])])
    prepared = PersistentDataset([case.files], chain, cache_dir=place)[0]
    return int(prepared["image"].shape[-1])


def brain(folder: Path) -> Case:
    """240 x 240 x 155 at 1 mm, four contrasts, as BraTS."""
    shape = (155, 240, 240)
    root = folder / "brats"
    case = root / "BraTS2021_00001"
    case.mkdir(parents=True)
    contrasts = ("t1", "t1ce", "t2", "flair")
    inside = ellipsoid(shape, (0.0, 0.0, 0.0), (0.9, 0.75, 0.6))
    lesion = ellipsoid(shape, (0.1, 0.2, -0.2), (0.15, 0.12, 0.12))
    for seed, contrast in enumerate(contrasts):
        tissue = 400 + 60 * texture(shape, 4, seed) + 8 * noise(shape, seed) + 150 * lesion
        save_nifti(
            case / f"{case.name}_{contrast}.nii.gz", np.where(inside, tissue, 0).astype(np.int16), (1.0, 1.0, 1.0)
        )
    save_nifti(case / f"{case.name}_seg.nii.gz", lesion.astype(np.uint8), (1.0, 1.0, 1.0))
    keys = [*contrasts, "label"]
    steps = [
        mt.LoadImaged(keys),
        mt.EnsureChannelFirstd(keys),
        mt.Orientationd(keys, axcodes="LPS", labels=None),
        mt.ConcatItemsd(contrasts, "image"),
        mt.DeleteItemsd(contrasts),
        mt.CropForegroundd(["image", "label"], source_key="image"),
        mt.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        mt.ScaleIntensityRanged("image", -2.5, 4.5, 0, 1, clip=True),
        mt.Resized(["image", "label"], (SIZE, SIZE, -1), mode=("trilinear", "nearest-exact")),
    ]
    files = {name: str(case / f"{case.name}_{'seg' if name == 'label' else name}.nii.gz") for name in keys}
    return Case("brain", "brats", contrasts, PreprocessingConfig(), root, files, steps)


def lung(folder: Path) -> Case:
    """512 x 512 x 120 at 2 x 0.7 x 0.7 mm with four readers' outlines, as LIDC-IDRI."""
    shape, spacing = (120, 512, 512), (2.0, 0.7, 0.7)
    inside = ellipsoid(shape, (0, 0, 0), (9, 0.7, 0.85))
    lungs = ellipsoid(shape, (0, 0, -0.4), (0.95, 0.5, 0.3)) | ellipsoid(shape, (0, 0, 0.4), (0.95, 0.5, 0.3))
    vessels = lungs & (texture(shape, 2, 1) > 2.2)
    windpipe = ellipsoid(shape, (0.6, -0.1, 0), (0.4, 0.05, 0.05))
    hu = np.select([windpipe, vessels, lungs, inside], [-1000.0, 40.0, -850.0, 30.0], -1000.0) + 20 * noise(shape, 0)
    nodule = (60, 256, 150, 12)
    z, y, x, radius = nodule
    lesion = np.zeros(shape, bool)
    for at in range(z - 3, z + 4):
        lesion[at] = lidc_files.disc(x, y, radius, shape[1:])
    hu[lesion] = 20
    root = folder / "LIDC-IDRI"
    slices = dicom_files.ct_series(hu.clip(-1024, 3000), spacing=spacing, patient="LIDC-IDRI-0001", description="chest")
    dicom_files.write(slices, root / "scan")
    outlines = lidc_files.rois(slices, {at: lidc_files.disc_edge(x, y, radius) for at in range(z - 3, z + 4)})
    session = lidc_files.session(lidc_files.nodule(outlines))
    (root / "annotation.xml").write_text(lidc_files.annotation(slices[0].SeriesInstanceUID, [session] * 4))
    save_nifti(folder / "lesion.nii.gz", lesion.astype(np.uint8), spacing)
    keys = ["image", "label"]
    steps = [
        mt.LoadImaged("image", reader="PydicomReader"),
        mt.LoadImaged("label"),
        mt.EnsureChannelFirstd(keys),
        mt.Orientationd(keys, axcodes="LPS", labels=None),
        mt.Spacingd(keys, pixdim=(-1, -1, 2.5), mode=("bilinear", "nearest")),
        mt.CropForegroundd(keys, source_key="image", select_fn=lambda image: image > -500),
        mt.ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
        mt.ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1, clip=True),
        mt.Resized(keys, (SIZE, SIZE, -1), mode=("trilinear", "nearest-exact")),
    ]
    files = {"image": str(root / "scan"), "label": str(folder / "lesion.nii.gz")}
    ours = PreprocessingConfig(spacing=[2.5, 0, 0], crop="organ", window=[-1000, 400], stretch=[1, 99])
    return Case("lung", "lidc", ("ct",), ours, root, files, steps)


def liver(folder: Path) -> Case:
    """512 x 512 x 80 at 2.5 x 0.75 x 0.75 mm with a DICOM SEG of liver and mass, as HCC-TACE-Seg."""
    shape, spacing = (80, 512, 512), (2.5, 0.75, 0.75)
    inside = ellipsoid(shape, (0, 0, 0), (9, 0.65, 0.85))
    organ = ellipsoid(shape, (0, 0, -0.35), (0.95, 0.45, 0.4))
    mass = ellipsoid(shape, (0, 0, -0.4), (0.2, 0.1, 0.08))
    hu = np.select([mass, organ, inside], [60.0, 105.0, 20.0], -1000.0) + 12 * noise(shape, 0)
    hu += np.where(inside, 25 * texture(shape, 4, 2), 0)
    root = folder / "HCC-TACE-Seg" / "HCC_001"
    slices = dicom_files.ct_series(hu.clip(-1024, 3000), spacing=spacing, patient="HCC_001")
    dicom_files.write(slices, root / "scan")
    outlines = {"Liver": organ & ~mass, "Mass": mass}
    dicom_files.write([dicom_files.segmentation(slices, outlines)], root / "seg")
    save_nifti(folder / "mass.nii.gz", mass.astype(np.uint8), spacing)
    save_nifti(folder / "liver.nii.gz", organ.astype(np.uint8), spacing)
    keys = ["image", "label", "organ"]
    steps = [
        mt.LoadImaged("image", reader="PydicomReader"),
        mt.LoadImaged(["label", "organ"]),
        mt.EnsureChannelFirstd(keys),
        mt.Orientationd(keys, axcodes="LPS", labels=None),
        mt.CropForegroundd(keys, source_key="organ", margin=(13, 13, 0)),
        mt.MedianSmoothd("image", radius=(1, 1, 0)),
        mt.ScaleIntensityRanged("image", -100, 250, 0, 1, clip=True),
        mt.HistogramNormalized("image", num_bins=256, min=0, max=1),
        mt.Resized(keys, (SIZE, SIZE, -1), mode=("trilinear", "nearest-exact", "nearest-exact")),
    ]
    files = {
        "image": str(root / "scan"),
        "label": str(folder / "mass.nii.gz"),
        "organ": str(folder / "liver.nii.gz"),
    }
    ours = PreprocessingConfig(crop="organ", median=1, window=[-100, 250], equalise=True)
    return Case("liver", "hcc_tace", ("ct",), ours, root.parent, files, steps)


def ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """(Z, Y, X) with the volume reaching from -1 to 1 along each axis."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) < 1)


def noise(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """White noise of mean 0 and deviation 1."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def texture(shape: tuple[int, ...], width: float, seed: int) -> npt.NDArray[np.float32]:
    """Noise smoothed over ``width`` voxels, of mean 0 and deviation 1."""
    smooth = ndimage.gaussian_filter(noise(shape, 100 + seed), width, mode="wrap")
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def save_nifti(path: Path, values: Array, spacing: tuple[float, float, float]) -> None:
    """(Z, Y, X) in LPS order."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine), path)


if __name__ == "__main__":
    main()
