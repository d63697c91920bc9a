"""The one place that hands out training slices in a private run: for noised steps, or for what stays at the hospital.

``SiteData.training`` refuses in a private run, so that code which forgets about privacy finds no patient.
"""

from client.data.site_data import SiteData
from common.errors import RefusalError
from common.imaging.slices import Slices


def for_noised_steps(data: SiteData, model: str = "") -> Slices:
    """The training patients' slices as the GAN ``model`` looks at them (the study's own contrasts, if none is named),
    for :func:`client.privacy.training.train_privately` alone.

    Raises:
        RefusalError: if patients are not known, so that no patient can be bounded; or this site has no such images.
    """
    require_known_patients(data)
    return data.unguarded_training(model)


def kept_here(data: SiteData, model: str = "") -> Slices:
    """The same for what stays at this hospital: images that are made here, classifiers of this site alone, its own
    report. In a private run nothing that is computed from them may be part of an answer.

    Raises:
        RefusalError: if this site has no such images.
    """
    return data.unguarded_training(model)


def require_known_patients(data: SiteData) -> None:
    """
    Raises:
        RefusalError: if the data, or some of them, name no patients: each image would count as one, and a person with
            ten images would be bounded ten times as loosely as is said. The text may leave.
    """
    if data.cohort.unnamed or not data.cohort.patients_known:
        some = "some of " if data.cohort.patients_known else ""
        raise RefusalError(
            f"{some}its images name no patients, and the unit of privacy is the patient; name them (patients.csv of an "
            f"image folder, the PatientID of DICOM files){' or leave them out (patients of site.yaml)' if some else ''}"
        )
