"""The patients that the site's classifiers got wrong most often."""

from collections import Counter
from collections.abc import Sequence

from client.report.inputs import Prediction
from common.figures.formatting import AUC, MISSING
from common.report.arms import arm_title
from common.report.tables import Table, number, prose, word
from common.study.experiment import ARMS

SCOPES = ("local", "federated")


def mistakes_table(predictions: Sequence[Prediction], most: int = 10) -> Table | None:
    """The ``most`` patients with the most mistakes over all classifiers, the worst first.

    Args:
        predictions: of every model; those outside ``SCOPES`` are passed over.
        most: rows of the table.

    Returns:
        Columns: wrong slices by each arm's classifiers, and the most confident mistake. None if nothing was wrong.
    """
    # Models of other sites, which are tested here for the cross-site matrix, are not this site's classifiers.
    predictions = [p for p in predictions if p.scope in SCOPES]
    found = {(p.scope, p.arm) for p in predictions}
    scopes = [scope for scope in SCOPES if any(scope == s for s, _ in found)]
    arms = [arm for arm in ARMS if any(arm == a for _, a in found)]
    wrong: dict[str, Counter[tuple[str, str]]] = {}
    slices: dict[str, set[int]] = {}
    tumour: dict[str, set[int]] = {}
    worst: dict[str, Prediction] = {}
    for p in predictions:
        slices.setdefault(p.patient, set()).add(p.slice)
        if p.truth:
            tumour.setdefault(p.patient, set()).add(p.slice)
        if p.is_mistake:
            wrong.setdefault(p.patient, Counter())[(p.scope, p.arm)] += 1
            if p.patient not in worst or _confidence(p) > _confidence(worst[p.patient]):
                worst[p.patient] = p
    if not wrong:
        return None

    def by_scope(patient: str, arm: str) -> str:
        shown = [str(wrong[patient][(scope, arm)]) if (scope, arm) in found else MISSING for scope in scopes]
        return " / ".join(shown)

    order = sorted(wrong, key=lambda patient: (-wrong[patient].total(), patient))[:most]
    rows = [
        [
            word(patient),
            number(len(slices[patient])),
            number(len(tumour.get(patient, ()))),
            *(number(by_scope(patient, arm)) for arm in arms),
            prose(_told(worst[patient])),
        ]
        for patient in order
    ]
    return Table(
        f"Wrong slices at probability 0.5 by patient and classifier: the {len(order)} patients with the most mistakes, "
        f"of {len(wrong)} with any and {len(slices)} tested.",
        ["patient", "all", "tumour", *(arm_title(arm) for arm in arms), "most confident mistake"],
        rows,
        [("", 1), ("slices", 2), (f"wrong, {' / '.join(scopes)} classifier", len(arms)), ("", 1)],
    )


def _confidence(p: Prediction) -> float:
    return abs(p.probability - 0.5)


def _told(p: Prediction) -> str:
    called = "tumour missed" if p.truth else "healthy called tumour"
    return f"slice {p.slice}: {called}, p = {AUC.number(p.probability)} ({p.scope}, {arm_title(p.arm)})"
