"""The cross-site matrices as heat maps: classifiers, generators by the classifiers that learnt from their images alone,
and what augmentation gains in each cell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.figures.figure import Figure
from common.figures.formatting import Scale
from common.figures.registry import METRICS
from common.report.arms import arm_title
from common.report.tables import HeatMap, gain_map, heat_map
from common.results.classifier import CrossSite
from common.results.study import Results
from server.report.scopes import scope_titles


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
            gain_map(
                f"Gain in {METRICS[metric].title}, {arm_title(arm)} over real only. {_BEHIND}",
                *_headings(scope_titles(results), matrix),
                *_cells(matrix, key),
                METRICS[metric].differences,
                row_title="model",
            )
            for metric, key in ((key.partition("_over_")[0], key) for key in matrix.figures)
        ]
        note = "Paired over the patients of the cell. One colour is above zero, the other below; pale is near it."
        groups.append(MatrixGroup(f"Gain in each cell: {arm_title(arm)}", note, maps, []))
    return groups


def _cells(matrix: CrossSite, key: str) -> tuple[list[list[float | None]], list[list[Figure | None]]]:
    cells = matrix.figures[key]
    return [[one.value if one else None for one in line] for line in cells], cells


def _group(results: Results, title: str, note: str, matrix: CrossSite, trained: str) -> MatrixGroup:
    rows, columns = _headings(scope_titles(results), matrix)
    maps = {}
    for key in matrix.figures:
        # F1 of chance depends on the share of tumour slices: its colours run over all that it can be.
        of, span = METRICS[key], (0.0, 1.0) if key == "f1" else (0.5, 1.0)
        colours = f"Colour from {of.number(span[0])} to {of.number(span[1])}."
        caption = f"{of.title}, {trained}. {_BEHIND} {colours}"
        scale = of.scale or Scale(1, 3)
        maps[key] = heat_map(caption, rows, columns, *_cells(matrix, key), scale, row_title="model", span=span)
    return MatrixGroup(title, note, [one for key, one in maps.items() if key != "accuracy"], [maps["accuracy"]])


_BEHIND = "Rows: where the model was trained. Columns: whose test patients. Small: 95% interval over patients."


def _headings(titles: Mapping[str, str], matrix: CrossSite) -> tuple[list[str], list[str]]:
    return [titles.get(name, name) for name in matrix.models], [titles.get(name, name) for name in matrix.sites]
