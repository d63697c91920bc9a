"""The organs of the demo cohort: for each, how a patient is made and written, and what must be said about it."""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from simulation.cohort.brain.patient import make_patient
from simulation.cohort.brain.scanner import SCANNERS as BRAIN_SCANNERS
from simulation.cohort.brain.writing import write_brats_case
from simulation.cohort.ct.anatomy import SOURCES
from simulation.cohort.ct.scanner import LIVER_SCANNERS, LUNG_SCANNERS
from simulation.cohort.key import PatientKey

MakeCase = Callable[[PatientKey, Path, Path, Path | None], None]
"""Makes one patient: the key, the case's folder, a folder beside the readers' sight where the case is put together,
and the folder of the CT anatomy."""


@dataclass(frozen=True)
class DemoOrgan:
    """One organ.

    Attributes:
        reader: the reader that reads what is written.
        version: raise when the same parameters give other pixels; every cached cohort of the organ is then made anew.
        scanners: names that a site's ``scanner`` may have.
        make_case: makes and writes one patient; the folder appears when all of it is on disk.
        needs_ct_anatomy: whether the CT anatomy must be fetched first.
        anatomy: the sources of the anatomy, with licence and citation.
        limits: what a report must say beside every figure that was measured on the organ's patients.
    """

    reader: str
    version: int
    scanners: Collection[str]
    make_case: MakeCase
    needs_ct_anatomy: bool
    anatomy: Mapping[str, Any]
    limits: str


_OPTIMISTIC = (
    "Similarity and memorisation figures are optimistic on it, accuracy says nothing about real patients, "
    "and nothing measured on it is clinical evidence."
)

TEMPLATE_NOTICE = {
    "template": "MNI ICBM152 2009a nonlinear symmetric, T1 with grey- and white-matter maps, as shipped in nilearn",
    "notice": "Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, "
    "McGill University. Permission to use, copy, modify, and distribute for any purpose and without fee is granted "
    'provided that this notice appears in all copies; provided "as is" without express or implied warranty.',
    "cite": "Fonov et al. 2011, NeuroImage 54:313-327; Fonov et al. 2009, NeuroImage 47:S102; Collins et al. 1999",
}


def _make_brain(key: PatientKey, folder: Path, partial: Path, anatomy: Path | None) -> None:
    volumes = make_patient(key)
    write_brats_case(folder, partial, volumes.images, volumes.labels, volumes.first_slice)


def _make_lung(key: PatientKey, folder: Path, partial: Path, anatomy: Path | None) -> None:
    from simulation.cohort.lung.patient import make_lung_patient
    from simulation.cohort.lung.writing import write_lidc_case

    assert anatomy is not None
    patient = make_lung_patient(key, anatomy)
    _whole(folder, partial, lambda: write_lidc_case(partial, folder.name, patient))


def _make_liver(key: PatientKey, folder: Path, partial: Path, anatomy: Path | None) -> None:
    # highdicom takes a second to import; brain-only studies do not wait for it.
    from simulation.cohort.liver.patient import make_liver_patient
    from simulation.cohort.liver.writing import write_hcc_tace_case

    assert anatomy is not None
    patient = make_liver_patient(key, anatomy)
    _whole(folder, partial, lambda: write_hcc_tace_case(partial, folder.name, patient))


def _whole(folder: Path, partial: Path, write: Callable[[], None]) -> None:
    """Writes into ``partial``, then renames it to ``folder``, which therefore is whole or absent."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write()
    try:
        partial.rename(folder)
    except OSError:
        # Another process finished the same case first; its bytes are the same.
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)


ORGANS: Mapping[str, DemoOrgan] = {
    "brain": DemoOrgan(
        reader="brats",
        version=8,
        scanners=tuple(BRAIN_SCANNERS),
        make_case=_make_brain,
        needs_ct_anatomy=False,
        anatomy=TEMPLATE_NOTICE,
        limits="Every patient is a deformation of one anatomy, an average of 152 healthy young adults, with drawn "
        f"lesions. {_OPTIMISTIC}",
    ),
    "lung": DemoOrgan(
        reader="lidc",
        version=2,
        scanners=tuple(LUNG_SCANNERS),
        make_case=_make_lung,
        needs_ct_anatomy=True,
        anatomy=SOURCES,
        limits="Every patient is a deformation of one thorax, with drawn nodules whose shapes and readings are "
        f"those of a few hundred real ones, the large ones, and which sites may share. {_OPTIMISTIC}",
    ),
    "liver": DemoOrgan(
        reader="hcc_tace",
        version=2,
        scanners=tuple(LIVER_SCANNERS),
        make_case=_make_liver,
        needs_ct_anatomy=True,
        anatomy={"abdomen": SOURCES["thorax and abdomen"]},
        limits="Every patient is a deformation of one abdomen, 20 slices high, with drawn, conspicuous masses and "
        f"drawn phases of contrast medium. {_OPTIMISTIC}",
    ),
}
"""The organs that have a demo cohort, by name."""


def demo_organ(name: str) -> DemoOrgan:
    """The organ ``name``.

    Raises:
        ConfigError: if it has no demo cohort.
    """
    if name not in ORGANS:
        raise ConfigError(f"organ={name}: the demo cohort has {', '.join(ORGANS)}")
    return ORGANS[name]
