"""The cross-site matrices as heat maps: classifiers, generators by the classifiers that learnt from their images alone,
and what augmentation gains in each cell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.report.arms import arm_title
from common.report.formatting import AUC, PERCENT, POINTS, Scale
from common.report.tables import HeatMap, gain_map, heat_map
from common.results import Results
from common.results_classifier import CrossSite, Interval
from server.report.scopes import scope_titles

Cells = tuple[list[list[float | None]], list[list[Interval | None]]]
F1_SPAN = (0.0, 1.0)
"""F1 of chance depends on the share of tumour slices: its colours run over all that it can be."""


@dataclass(frozen=True)
class MatrixGroup:
    """Matrices of one kind under a heading; ``folded`` ones are shown on demand, under a title of their own."""

    title: str
    note: str
    maps: list[HeatMap]
    folded: list[HeatMap]
    folded_title: str = "Accuracy"


def matrix_groups(results: Results) -> list[MatrixGroup]:
    """Classifiers, generators, gains; those that are not in the results are left out."""
    groups = []
    if results.cross_site is not None:
        groups.append(_group(results, "Classifiers", "", results.cross_site, "trained on real slices only"))
    titles = {
        "synthetic": (
            "Generators",
            "A classifier that saw only what the generators made at one site, tested on real patients of another: what "
            "these images carry from site to site.",
        ),
    }
    for arm, matrix in sorted(results.cross_site_arms.items(), key=lambda item: item[0] != "synthetic"):
        title, note = titles.get(arm, (f"Classifiers: {arm_title(arm)}", ""))
        group = _group(results, title, note, matrix, f"trained on {arm_title(arm)}")
        if arm not in titles:
            # The gains below say what matters of these; the figures themselves are there for whoever looks for them.
            group = replace(group, maps=[], folded=[*group.maps, *group.folded], folded_title="AUC, F1 and accuracy")
        groups.append(group)
    for arm, matrix in results.cross_site_gain.items():
        maps = [
            _gains(results, f"Gain in AUC, {arm_title(arm)} over real only.", matrix, _auc(matrix), AUC),
            _gains(
                results,
                f"Gain in accuracy in percentage points, {arm_title(arm)} over real only.",
                matrix,
                _accuracy(matrix),
                Scale(POINTS.factor, POINTS.decimals),
            ),
        ]
        note = "Paired over the patients of the cell. One colour is above zero, the other below; pale is near it."
        groups.append(MatrixGroup(f"Gain in each cell: {arm_title(arm)}", note, maps, []))
    return groups


def _auc(matrix: CrossSite) -> Cells:
    return matrix.auc, matrix.auc_interval


def _accuracy(matrix: CrossSite) -> Cells:
    return matrix.accuracy, matrix.accuracy_interval


def _group(results: Results, title: str, note: str, matrix: CrossSite, trained: str) -> MatrixGroup:
    auc = _shares(results, f"AUC, {trained}.", matrix, _auc(matrix), AUC)
    f1 = (
        [_shares(results, f"F1, {trained}.", matrix, (matrix.f1, matrix.f1_interval), PERCENT, F1_SPAN)]
        if matrix.f1
        else []
    )
    accuracy = _shares(results, f"Accuracy, {trained}.", matrix, _accuracy(matrix), PERCENT)
    return MatrixGroup(title, note, [auc, *f1], [accuracy])


def _shares(
    results: Results, title: str, matrix: CrossSite, cells: Cells, scale: Scale, span: tuple[float, float] = (0.5, 1.0)
) -> HeatMap:
    rows, columns = _headings(scope_titles(results), matrix)
    colours = f"Colour from {scale.number(span[0])} to {scale.number(span[1])}."
    caption = f"{title} {_BEHIND} {colours}"
    return heat_map(caption, rows, columns, *cells, scale, row_title="model", span=span)


def _gains(results: Results, title: str, matrix: CrossSite, cells: Cells, scale: Scale) -> HeatMap:
    rows, columns = _headings(scope_titles(results), matrix)
    return gain_map(f"{title} {_BEHIND}", rows, columns, *cells, scale, row_title="model")


_BEHIND = "Rows: where the model was trained. Columns: whose test patients. Small: 95% interval over patients."


def _headings(titles: Mapping[str, str], matrix: CrossSite) -> tuple[list[str], list[str]]:
    return [titles.get(name, name) for name in matrix.models], [titles.get(name, name) for name in matrix.sites]
