"""Tables and scatter plots of what a classifier looks at, as both reports show them."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from common.figures.figure import Scores
from common.figures.formatting import PERCENT, plural
from common.report.charts import Chart
from common.report.figures import figure_cell
from common.report.scatter import Cloud, scatter_chart
from common.report.tables import Table, number, word

ROW = "trained on"

ABOVE_CHANCE = ("attention", "", "chance")
BY_REFILLING = ("called_tumour", "refilled", "untouched")
"""Keys of the two paired differences."""


def attention_table(figures: Mapping[str, Scores], slices: str, row_title: str = ROW) -> Table | None:
    """Share of attention on the lesion, a row a classifier, compared with chance; None if no classifier has it.

    Args:
        figures: by what stands at the head of each row.
        slices: what they were measured on, e.g. ``test slices``.
        row_title: what the heads of rows are.
    """
    found = [(head, one, scores) for head, scores in figures.items() if (one := scores.get("attention")) is not None]
    if not found:
        return None
    reach = int(found[0][1].conditions.get("reach", 0))
    rows = [
        [
            word(head),
            *(figure_cell(scores.get(key)) for key in ("attention", ("attention", "chance"), ABOVE_CHANCE)),
            *(number(count) for count in (one.n, one.patients, one.left_out)),
        ]
        for head, one, scores in found
    ]
    return Table(
        f"Share of the Grad-CAM map that lies on the lesion, on {slices} with a lesion: mean over patients with 95% "
        f"interval over patients. One cell of the map is about {2 * reach} pixels wide, so lesions are widened by "
        f"{plural(reach, 'pixel')}. By chance: what a map spread evenly over the body would have. No map: further "
        "slices whose map is zero everywhere, which are in no figure; the method gives each feature map one weight and "
        "then finds no place, whatever the classifier said.",
        [row_title, "on the lesion", "by chance", "difference", "slices", "patients", "no map"],
        rows,
    )


def shortcut_table(figures: Mapping[str, Scores], slices: str, row_title: str = ROW) -> Table | None:
    """How often healthy slices are called tumour before and after being filled again; as :func:`attention_table`."""
    keys = (("called_tumour", "untouched"), ("called_tumour", "refilled"), BY_REFILLING)
    rows = [
        [word(head), *(figure_cell(scores.get(key)) for key in keys), number(one.n), number(one.patients)]
        for head, scores in figures.items()
        if (one := scores.get(keys[0])) is not None
    ]
    if not rows:
        return None
    return Table(
        f"Healthy {slices} called tumour: as they are, and after a region of a lesion's shape was blanked and filled "
        "again without a lesion. Mean over patients with 95% interval over patients, differences paired by slice.",
        [row_title, "untouched", "filled again", "difference", "slices", "patients"],
        rows,
    )


def apart_table(figures: Mapping[str, Scores], row_title: str = ROW) -> Table | None:
    """How well real and synthetic slices can be told apart from features; None if no classifier has it."""
    rows = [
        [
            word(head),
            word(one.part),
            figure_cell(one),
            *(number(one.conditions.get(kind)) for kind in ("real", "synthetic")),
            number(one.patients),
        ]
        for head, scores in figures.items()
        for one in scores.figures
        if one.metric == "two_sample"
    ]
    if not rows:
        return None
    return Table(
        "How well real and synthetic slices can be told apart from what the classifier sees: balanced accuracy of a "
        "logistic regression on its features, cross-validated over patients, with 95% interval over patients. 0.5: "
        "not at all; 1: every one.",
        [row_title, "class", "balanced accuracy", "real", "synthetic", "patients"],
        rows,
        [("", 3), ("slices", 2), ("", 1)],
    )


def embedding_charts(title: str, pictures: Mapping[str, npt.NDArray[Any]]) -> list[Chart]:
    """The t-SNE and the PCA of one classifier's features; empty if they were not kept.

    Args:
        title: what both are of.
        pictures: ``embedding_tsne`` and ``embedding_pca`` (N, 2), ``embedding_tumour`` and ``embedding_synthetic`` (N,)
            bool, ``embedding_explained`` (2,) and ``embedding_perplexity``.
    """
    if "embedding_tsne" not in pictures:
        return []
    explained = pictures["embedding_explained"]
    perplexity = float(pictures["embedding_perplexity"])
    tsne = scatter_chart(
        f"{title}: t-SNE, perplexity {perplexity:.0f}",
        _clouds(pictures, "tsne"),
        x_title="t-SNE, first axis (no unit)",
        y_title="t-SNE, second axis (no unit)",
    )
    pca = scatter_chart(
        f"{title}: PCA",
        _clouds(pictures, "pca"),
        x_title=f"first component, {PERCENT.text(float(explained[0]))} of the variance",
        y_title=f"second component, {PERCENT.text(float(explained[1]))}",
    )
    return [chart for chart in (tsne, pca) if chart is not None]


def _clouds(pictures: Mapping[str, npt.NDArray[Any]], name: str) -> list[Cloud]:
    points, tumour, synthetic = (pictures[f"embedding_{key}"] for key in (name, "tumour", "synthetic"))
    return [
        Cloud(f"{origin}, {kind}", points[(tumour == is_tumour) & (synthetic == made)], 2 if is_tumour else 1, made)
        for origin, made in (("real", False), ("synthetic", True))
        for kind, is_tumour in (("healthy", False), ("tumour", True))
    ]
