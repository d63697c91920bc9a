"""A figure as a cell of a table and as a row of a CSV file, whichever metric it is of."""

import json
from typing import Any

from common.figures.figure import Figure
from common.figures.registry import REFERENCES
from common.report.tables import Cell, number


def figure_cell(figure: Figure | None) -> Cell:
    """A value with its interval, or its spread over subsets, below it."""
    if figure is None or figure.value is None:
        return number(None)
    of = figure.of
    written = of.differences.text(figure.value) if figure.against else of.text(figure.value)
    ends = of.differences if figure.against else of
    if figure.low is not None and figure.high is not None:
        return Cell(written, f"({ends.number(figure.low)} to {ends.number(figure.high)})", "number")
    deviation = figure.conditions.get("subset_deviation")
    if deviation is not None:
        return Cell(written, f"(± {of.number(float(deviation))})", "number")
    return Cell(written, "(no interval)" if of.kind == "classifier" else "", "number")


FIGURE_COLUMNS = [
    *("metric", "part", "against", "name", "value", "low", "high", "standard_error", "n", "patients", "left_out"),
    *(f"reference_{key}" for key in REFERENCES),
    "conditions",
]
"""One row a figure, at full precision."""


def figure_fields(figure: Figure) -> dict[str, Any]:
    """A figure under :data:`FIGURE_COLUMNS`."""
    plain = figure.model_dump(exclude={"references", "conditions"})
    references = {f"reference_{key}": value for key, value in figure.references.items()}
    conditions = {key: value for key, value in figure.conditions.items() if key != "name"}
    return {
        **plain,
        **references,
        "name": figure.name,
        "conditions": json.dumps(conditions, sort_keys=True) if conditions else None,
    }
