"""What will not be measured at a site, from its number of patients and the study's configuration alone."""

from common.imaging.split import part_sizes
from common.study.experiment import Experiment, SplitConfig

MOST = 100_000
"""Patients up to which the least number is looked for."""


def not_measured(experiment: Experiment, patients: int) -> list[str]:
    """What a site with so many patients will not tell, and what would change that; empty if all is well.

    >>> from common.study.config import compose
    >>> study = compose(["site=none", "model=[cgan]", "preset=paper"])
    >>> not_measured(study, 28)
    ['28 patients leave 3 for testing: fewer than 5, its scores will be null; split.test=0.17 split.train=0.63 would \
leave 5']
    >>> not_measured(study, 60)
    []
    """
    least, study = experiment.study.min_cell, experiment.study
    test, validation, train = part_sizes(patients, experiment.split)
    found = []
    if train == 0:
        found.append(f"{patients} patients leave none for training: it trains nothing")
    if test == 0:
        found.append(
            f"{patients} patients leave none for testing: it evaluates nothing{_way_out(experiment, patients)}"
        )
    elif test < least:
        found.append(
            f"{patients} patients leave {test} for testing: fewer than {least}, its scores will be null"
            f"{_way_out(experiment, patients)}"
        )
    if study.folds:
        fold = (train + validation) // study.folds
        if fold < least:
            found.append(
                f"{patients} patients leave folds of {fold}: fewer than {least}, their scores will be null; fewer "
                "study.folds make larger ones"
            )
    for point in (point for point in study.curve if point > train):
        found.append(f"study.curve={point}: it has {train} training patients, so this point is measured on all of them")
    return found


def least_patients(split: SplitConfig, min_cell: int) -> int | None:
    """The fewest patients of a site whose test part holds ``min_cell``; None if no number does.

    >>> least_patients(SplitConfig(0.7, 0.2, 0.1), 5), least_patients(SplitConfig(1.0, 0.0, 0.0), 5)
    (45, None)
    """
    if split.test <= 0:
        return None
    counts = range(min_cell, MOST)
    # By the rounding of parts, one patient more may be one less that tests.
    enough = (count for count in counts if all(part_sizes(n, split)[0] >= min_cell for n in range(count, count + 10)))
    return next(enough, None)


def _way_out(experiment: Experiment, patients: int) -> str:
    """The smallest share of test patients, taken from those that train, that would be enough."""
    split, least = experiment.split, experiment.study.min_cell
    if abs(split.train + split.validation + split.test - 1) > 1e-6:
        return "; raise split.test"
    for percent in range(1, 100):
        train = round(1 - split.validation - percent / 100, 6)
        if train > 0 and part_sizes(patients, SplitConfig(train, split.validation, percent / 100))[0] >= least:
            return f"; split.test={percent / 100:g} split.train={train:g} would leave {least}"
    return "; it has too few patients for any split"
