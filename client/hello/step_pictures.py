"""What preprocessing does to one of this site's patients, kept as pictures for its own report."""

import numpy as np

from client.data.session import Session
from common.array_files import write_arrays
from common.errors import BadStudyError
from common.imaging.finding import find_studies
from common.imaging.preprocessing import trace
from common.seeding import numpy_generator

FILE = "steps.npz"


def keep_step_pictures(session: Session) -> None:
    """Writes a slice before and after each step, of one patient with a tumour drawn by the study's seed; once a run."""
    path = session.result_file(FILE)
    if path.exists():
        return
    names = sorted(patient.patient for patient in session.cohort.patients if patient.has_tumour)
    names = names or sorted(patient.patient for patient in session.cohort.patients)
    chosen = names[int(numpy_generator(session.experiment.seed, session.settings.name, "steps").integers(len(names)))]
    locations = [one for one in find_studies(session.reader, session.settings.path) if one.patient == chosen]
    for location in locations:
        try:
            pictures = trace(session.reader.read(location), session.experiment.image, session.steps)
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
