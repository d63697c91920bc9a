"""What preprocessing does to one of this site's patients, kept as pictures for its own report."""

import numpy as np

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from common.errors import BadStudyError
from common.imaging.finding import find_studies
from common.imaging.preprocessing import trace
from common.seeding import Label, numpy_generator
from common.system.array_files import write_arrays

FILE = "steps.npz"


def keep_step_pictures(data: SiteData, work: WorkFolder) -> None:
    """Writes a slice before and after each step, of one patient with a tumour drawn by the study's seed; once a run."""
    path = work.results / FILE
    if path.exists():
        return
    names = sorted(patient.patient for patient in data.cohort.patients if patient.has_tumour)
    names = names or sorted(patient.patient for patient in data.cohort.patients)
    study = data.study
    random = numpy_generator(study.experiment.seed, study.settings.name, Label.STEPS)
    chosen = names[int(random.integers(len(names)))]
    locations = [one for one in find_studies(data.cohorts.reader, study.settings.path) if one.patient == chosen]
    for location in locations:
        try:
            pictures = trace(data.cohorts.reader.read(location), study.experiment.image, study.steps)
        except BadStudyError:
            continue  # One of the patient's studies that is in quarantine.
        write_arrays(
            path,
            {
                "patient": np.array(chosen),
                "name": np.array([picture.name for picture in pictures]),
                "does": np.array([picture.does for picture in pictures]),
                "before": np.stack([picture.before for picture in pictures]).astype(np.float16),
                "after": np.stack([picture.after for picture in pictures]).astype(np.float16),
            },
        )
        return
