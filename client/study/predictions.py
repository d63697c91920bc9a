"""What the classifiers said of each test slice: kept at the site, by patient, so that a figure can be found again."""

import csv
import io
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from client.data.work import WorkFolder
from common.imaging.slices import Slices
from common.system.files import write_bytes

Probabilities = npt.NDArray[np.float64]

COLUMNS = ("arm", "scope", "patient", "slice", "truth", "probability")
TEST, LEFT_OUT = "predictions.csv", "left_out_predictions.csv"
"""Files, for the fixed test patients and for those of a fold; each trial has its own folder."""


def keep_predictions(
    work: WorkFolder, part: str, arm: str, scope: str, slices: Slices, probability: Probabilities
) -> None:
    """Writes the predictions of one classifier, in place of earlier ones under the same names.

    Args:
        part: ``TEST`` or ``LEFT_OUT``.
        arm: of the classifier, or the model of another site.
        scope: ``local``, ``federated`` or ``cross_site``.
        slices: what was shown.
        probability: (N,) of a tumour, rounded to six digits.
    """
    path = work.results / part
    rows: list[Iterable[object]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [row for row in list(csv.reader(file))[1:] if tuple(row[:2]) != (arm, scope)]
    truth = slices.tumour_class()
    first = np.searchsorted(slices.owner, slices.owner)
    for position, owner in enumerate(slices.owner):
        number = position - int(first[position])
        patient = slices.patients[owner].patient
        rows.append((arm, scope, patient, number, int(truth[position]), f"{probability[position]:.6f}"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def kept_predictions(work: WorkFolder, part: str, arm: str, scope: str) -> Probabilities | None:
    """(N,) probabilities that were kept, in the order of the slices; None where there are none."""
    path = work.results / part
    if not path.exists():
        return None
    with path.open(newline="") as file:
        found = [float(row[5]) for row in list(csv.reader(file))[1:] if tuple(row[:2]) == (arm, scope)]
    return np.array(found, dtype=np.float64) if found else None
