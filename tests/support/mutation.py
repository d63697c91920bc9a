"""Files with a few wrong bytes, read in a process of their own, so that its memory is that of reading alone."""

import gzip
import multiprocessing
import random
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from dicom_files import body, ct_series, segmentation, structure_set, write
from lidc_files import annotation, disc_edge, nodule, rois, session
from tiny import write_patient

SHAPE = (6, 32, 40)
FORMATS = ("nifti", "nifti_packed", "lidc_xml", "ct", "seg", "rtstruct")


@dataclass(frozen=True)
class Campaign:
    """What came of reading many mutated files.

    Attributes:
        read, refused: files that gave a patient, and files that were refused with a reason.
        slowest: seconds of the slowest one.
        growth: bytes by which the process's largest memory grew after the first, unspoilt file was read.
        escaped: the first exception that is no refusal, with its file's number; empty if there was none.
    """

    read: int
    refused: int
    slowest: float
    growth: int
    escaped: str


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, or a piece cut out, doubled or lost at the end."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(min(128, len(changed) - 1), len(changed))
        match rng.randrange(6):
            case 0 | 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
            case 3:
                del changed[at : at + rng.randrange(1, 60)]
            case 4:
                changed[at:at] = changed[at : at + rng.randrange(1, 60)]
            case 5:
                del changed[max(at, len(changed) - 400, 200) :]
    return bytes(changed)


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """A few of the first 352 bytes changed: a NIfTI header, where sizes, types and offsets stand."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        at = rng.randrange(352)
        changed[at : at + 2] = rng.choice((b"\xff\xff", b"\xff\x7f", b"\0\0", rng.randbytes(2)))
    return bytes(changed)


def read_mutated(count: int, folder: Path) -> dict[str, Campaign]:
    """Reads ``count`` mutations of a file of each of ``FORMATS`` in one fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(count, folder, theirs))
    process.start()
    theirs.close()
    try:
        campaigns: dict[str, Campaign] = ours.recv()
    except EOFError as error:
        process.join()
        raise AssertionError(f"the reading process died with exit code {process.exitcode}") from error
    process.join()
    return campaigns


def _run(count: int, folder: Path, answer: Connection) -> None:
    answer.send({name: _campaign(name, count, folder / name) for name in FORMATS})


def _campaign(name: str, count: int, folder: Path) -> Campaign:
    from common.errors import BadStudyError, DataError
    from common.imaging.preprocessing import preprocess
    from common.study.experiment import ImageConfig, PreprocessingConfig

    reader, target = _study(name, folder)
    original = target.read_bytes()
    packed = name == "nifti_packed"
    plain = gzip.decompress(original) if packed else original
    rng = random.Random(name)
    counts = {"read": 0, "refused": 0}
    slowest, escaped = 0.0, ""

    def read() -> str:
        try:
            for location in reader.find(folder):
                preprocess(reader.read(location), ImageConfig(size=32), PreprocessingConfig(window=[-1000, 400]))
        except (BadStudyError, DataError):
            return "refused"
        return "read"

    assert read() == "read"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        header = name.startswith("nifti") and number % 2 == 0
        spoilt = (mutate_header if header else mutate)(plain, rng)
        target.write_bytes(gzip.compress(spoilt, 1) if packed and number % 3 else spoilt)
        begun = time.monotonic()
        try:
            counts[read()] += 1
        except Exception as error:
            escaped = escaped or f"file {number}: {type(error).__name__}: {error}"
        slowest = max(slowest, time.monotonic() - begun)
    growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    return Campaign(counts["read"], counts["refused"], slowest, growth, escaped)


def _study(name: str, folder: Path) -> tuple[Any, Path]:
    """A reader, and the file of a sound study of its format that is going to be spoilt."""
    from common.imaging.readers.registry import build_reader

    if name.startswith("nifti"):
        write_patient(folder, "case", tumour=True, seed=1)
        image = folder / "case" / "case_flair.nii.gz"
        if name == "nifti":
            unpacked = image.with_suffix("")
            unpacked.write_bytes(gzip.decompress(image.read_bytes()))
            image.unlink()
            image = unpacked
        return build_reader("brats", organ="brain", contrasts=["flair"], options={}), image
    slices = ct_series(body(SHAPE))
    files = write(slices, folder / "ct")
    if name == "lidc_xml":
        marked = nodule(rois(slices, {2: disc_edge(20, 16, 4), 3: disc_edge(20, 16, 4)}))
        text = annotation(slices[0].SeriesInstanceUID, [session(marked) for _ in range(4)])
        (folder / "reading.xml").write_text(text)
        return build_reader("lidc", organ="lung", contrasts=["ct"], options={}), folder / "reading.xml"
    mask = body(SHAPE) > 60
    square = np.array([(12, 10), (22, 10), (22, 20), (12, 20)], dtype=float)
    options = {"tumour_segments": ["mass"]}
    if name == "seg":
        files = write([segmentation(slices, {"Mass": mask})], folder / "seg")
    elif name == "rtstruct":
        files = write([structure_set(slices, {"Mass": [(2, square)]})], folder / "structures")
    return build_reader("dicom", organ="liver", contrasts=["ct"], options=options), files[0]
