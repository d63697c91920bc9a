"""Tables and scatter plots of what a classifier looks at, as both reports show them."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from common.explanation.records import ExplanationRecord
from common.report.charts import Chart
from common.report.formatting import AUC, PERCENT, POINTS, plural
from common.report.scatter import Cloud, scatter_chart
from common.report.tables import Table, figure, number, word

ROW = "trained on"


def attention_table(figures: Mapping[str, ExplanationRecord], slices: str, row_title: str = ROW) -> Table | None:
    """Share of attention on the lesion, a row a classifier, beside chance; None if no classifier has it.

    Args:
        figures: by what stands at the head of each row.
        slices: what they were measured on, e.g. ``test slices``.
        row_title: what the heads of rows are.
    """
    rows = []
    reach = 0
    for trained, record in figures.items():
        found = record.attention
        if found is None:
            continue
        reach = found.reach
        rows.append(
            [
                word(trained),
                figure(found.share, PERCENT),
                figure(found.chance, PERCENT),
                figure(found.difference, POINTS),
                number(found.slices),
                number(found.patients),
                number(found.blank),
            ]
        )
    if not rows:
        return None
    return Table(
        f"Share of the Grad-CAM map that lies on the lesion, on {slices} with a lesion: mean over patients with 95% "
        f"interval over patients. One cell of the map is about {2 * reach} pixels wide, so lesions are widened by "
        f"{plural(reach, 'pixel')}. By chance: what a map spread evenly over the body would have. No map: further "
        "slices whose map is zero everywhere, which are in no figure; the method gives each feature map one weight and "
        "then finds no place, whatever the classifier said.",
        [row_title, "on the lesion", "by chance", "difference", "slices", "patients", "no map"],
        rows,
    )


def shortcut_table(figures: Mapping[str, ExplanationRecord], slices: str, row_title: str = ROW) -> Table | None:
    """How often healthy slices are called tumour before and after being filled again; as :func:`attention_table`."""
    rows = [
        [
            word(trained),
            figure(found.untouched, PERCENT),
            figure(found.refilled, PERCENT),
            figure(found.difference, POINTS),
            number(found.slices),
            number(found.patients),
        ]
        for trained, record in figures.items()
        if (found := record.shortcut) is not None
    ]
    if not rows:
        return None
    return Table(
        f"Healthy {slices} called tumour: as they are, and after a region of a lesion's shape was blanked and filled "
        "again without a lesion. Mean over patients with 95% interval over patients, differences paired by slice.",
        [row_title, "untouched", "filled again", "difference", "slices", "patients"],
        rows,
    )


def apart_table(figures: Mapping[str, ExplanationRecord], row_title: str = ROW) -> Table | None:
    """How well real and synthetic slices can be told apart from features; None if no classifier has it."""
    rows = [
        [
            word(trained),
            word(kind),
            figure(found.balanced_accuracy, AUC),
            number(found.real),
            number(found.synthetic),
            number(found.patients),
        ]
        for trained, record in figures.items()
        for kind, found in record.told_apart.items()
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
