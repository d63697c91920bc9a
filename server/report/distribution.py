"""The images of the chosen round as a set, beside real ones: distances, and where images lie by nearest neighbours."""

from collections.abc import Mapping
from typing import Any

from common.report.formatting import RATIO, listed, significant
from common.report.tables import Cell, Table, number, word
from common.results import KernelScores, Manifold, Scores
from server.report.kinds.kind import Kind, at_subject, blank

_SHARES = ("precision", "recall", "density", "coverage")


def distribution_table(kind: Kind[Any, Any], finals: Mapping[str, Scores]) -> Table:
    """Generated images, real ones of other patients and blurred ones, subject by subject; ``finals`` is not empty."""
    rows = [row for subject, final in finals.items() for row in _rows(kind, subject, final, finals)]
    every = [final.distribution for final in finals.values()]
    balls = sorted({str(one.manifold.k) for one in every if one.manifold})
    sizes = sorted({one.kernel.subset_size for one in every})
    caption = (
        "The slices of the final part as a set. Real: real slices of other patients, as many. Normalised: 0 at the "
        "distance of real slices, 1 at that of blurred ones. Small below the kernel distance: its standard deviation "
        f"over subsets of {listed(map(str, sizes))}."
    )
    if balls:
        caption += (
            " Precision and density: whether the slices lie where real ones do; recall and coverage: everywhere they "
            f"do. Balls reach to neighbour {listed(balls)}."
        )
    names = (every[0].frechet.name, every[0].kernel.name)
    return Table(caption, ["slices", names[0], "normalised", names[1], *_SHARES, "n"], rows)


def _rows(kind: Kind[Any, Any], subject: str, final: Scores, finals: Mapping[str, Scores]) -> list[list[Cell]]:
    one = final.distribution
    distance, manifold = one.frechet, one.manifold

    def row(part: str, value: float, *rest: Cell) -> list[Cell]:
        return [word(at_subject(subject, part, finals)), number(significant(value)), *rest]

    return [
        row(
            "generated",
            distance.value,
            number(RATIO.number(distance.normalised)),
            _kernel(one.kernel),
            *_lie(manifold.generated if manifold else None),
            number(distance.n),
        ),
        row(
            "real",
            distance.floor,
            *blank(1),
            number(significant(one.kernel.floor)),
            *_lie(manifold.real if manifold else None),
            number(distance.n),
        ),
        *(row(name, value, *blank(6), number(distance.n)) for name, value in kind.distances_beside(final)),
        row("blurred real", distance.blurred, *blank(6), number(distance.n)),
    ]


def _kernel(kernel: KernelScores) -> Cell:
    return Cell(significant(kernel.value), f"(± {significant(kernel.spread)})", "number")


def _lie(manifold: Manifold | None) -> list[Cell]:
    return [number(RATIO.number(getattr(manifold, key)) if manifold else None) for key in _SHARES]
