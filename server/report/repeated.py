"""The classifiers over all repetitions, laid out as the source study's table: accuracy, precision, recall, F1 and AUC
by arm, mean and standard deviation."""

from collections.abc import Iterable, Mapping, Sequence

from common.figures.formatting import MISSING, Scale
from common.figures.metric import Metric
from common.figures.registry import METRICS
from common.report.arms import arm_title
from common.report.tables import Cell, Table, number, word
from common.results.classifier import Repeated, Spread
from common.results.study import Results
from common.study.experiment import ARMS
from server.report.scopes import alone, ordered, titled

MAIN = ("accuracy", "precision", "recall", "f1", "auc")
"""The columns of the source study's table."""

COUNTED = {
    "folds": "run-folds, each scored on the patients that it left out of training",
    "fixed": "runs on the fixed split, scored on its test patients",
}


def classifier_tables(results: Results) -> list[Table]:
    """One row an arm in each scope: over run-folds where there are any, else over runs on the fixed split.

    The first table is of the federation and what stands beside it, the second of single sites; either is left out
    where it would be empty.
    """
    scopes = ordered(one.scope for one in results.repeated)
    sites = [*alone(dict.fromkeys(scopes))]
    parts = ([scope for scope in scopes if scope not in sites], sites)
    return [table for part in parts if (table := _table(results, part)) is not None]


def _table(results: Results, scopes: Sequence[str]) -> Table | None:
    kinds = {scope: kind for scope in scopes if (kind := _kind(results, scope))}
    if not kinds:
        return None
    several = len(set(kinds.values())) > 1
    rows = [
        [
            word(titled(results, scope) + (_ON[kind] if several else "")),
            word(arm_title(one.arm)),
            *figures(one),
        ]
        for scope, kind in kinds.items()
        for one in by_arm(_of(results, kind, scope))
    ]
    counted = "; ".join(COUNTED[kind] for kind in COUNTED if kind in kinds.values())
    caption = (
        "The classifier by the images that trained it, in the columns of the source study's table: mean ± standard "
        f"deviation over n ({counted}). Slices at probability 0.5; in federation, the mean over sites. Trainings share "
        "patients, so the deviation is no standard error."
    )
    return Table(caption, ["trained or tested", "arm", *_titles(), "n"], rows)


_ON = {"folds": "", "fixed": " (fixed split)"}


def _kind(results: Results, scope: str) -> str | None:
    return next((kind for kind in COUNTED if _of(results, kind, scope)), None)


def images_table(results: Results) -> Table | None:
    """The arms whose images another GAN made, in federation and at every site; None if there was one GAN only."""
    found = [one for one in results.repeated if one.kind == "images"]
    if not found:
        return None
    rows = [
        [word(one.value), word(titled(results, one.scope)), word(arm_title(one.arm)), *figures(one)]
        for scope in ordered(one.scope for one in found)
        for one in found
        if one.scope == scope
    ]
    caption = (
        "The same with images of the study's other generators: mean ± standard deviation over n runs on the fixed "
        "split, scored on its test patients. Compare with the study's own generator on the fixed split, not over folds."
    )
    return Table(caption, ["images of", "trained", "arm", *_titles(), "n"], rows)


def by_arm(found: Iterable[Repeated]) -> list[Repeated]:
    """In the order of the study's design, unknown arms last."""
    known = {arm: index for index, arm in enumerate(ARMS)}
    return sorted(found, key=lambda one: (known.get(one.arm, len(known)), one.arm))


def figures(one: Repeated) -> list[Cell]:
    """A cell for each measure, then how many trials are behind them."""
    cells = [spread_cell(one.figures.get(key), METRICS[key]) for key in MAIN]
    return [*cells, number(_counts(one.figures))]


def spread_cell(value: Spread | None, scale: Metric | Scale) -> Cell:
    """Mean, and below it its standard deviation over trials; one trial has none."""
    if value is None:
        return number(None)
    small = f"± {scale.number(value.deviation)}" if value.deviation is not None else "(one trial)"
    return Cell(scale.text(value.mean), small, "number")


def _of(results: Results, kind: str, scope: str) -> list[Repeated]:
    return [one for one in results.repeated if one.kind == kind and one.scope == scope]


def _counts(values: Mapping[str, Spread]) -> str:
    """``15``, or ``13 to 15`` where a figure was undefined in some trials."""
    counts = sorted({value.n for key, value in values.items() if key in MAIN})
    if not counts:
        return MISSING
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _titles() -> list[str]:
    return [METRICS[key].title for key in MAIN]
