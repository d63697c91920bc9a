"""One patient in the layout of LIDC-IDRI: a CT series below two folders of odd names, beside it the readers' XML."""

from pathlib import Path

from common.seeding import Label, derive_seed
from simulation.cohort.ct.dicom import SeriesHeader, ct_series, save
from simulation.cohort.lung.patient import LungPatient
from simulation.cohort.lung.reading import reading_xml


def write_lidc_case(folder: Path, name: str, patient: LungPatient) -> None:
    """Writes the study below ``folder``, which exists and is empty.

    Args:
        name: the patient's; with it the UIDs and the folders' names are decided.
    """
    number = derive_seed(Label.LIDC_FOLDER, name) % 100000
    series_folder = folder / f"01-01-2000-NA-NA-{number:05d}" / f"{3000000 + number}.000000-NA-{number:05d}"
    series_folder.mkdir(parents=True)
    header = SeriesHeader(
        patient=name,
        study="chest",
        series="ct",
        number=2,
        description="",
        body_part="CHEST",
        kernel=patient.kernel,
        contrast_agent="IV" if patient.enhanced else "",
        spacing=patient.spacing,
    )
    images = ct_series(patient.hu, patient.inside, header)
    for image in images:
        save(image, series_folder / f"1-{int(image.InstanceNumber):03d}.dcm")
    slices = [(str(image.SOPInstanceUID), float(image.ImagePositionPatient[2])) for image in images]
    content = reading_xml(
        str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID), slices, patient.nodules, patient.marks
    )
    (series_folder / f"{number % 1000:03d}.xml").write_bytes(content)
