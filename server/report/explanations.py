"""What the federated classifier sees in the reference set, drawn for the study report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from common.errors import DamagedFileError
from common.figures.figure import Scores
from common.report.charts import Chart
from common.report.explanations import apart_table, attention_table, embedding_charts, shortcut_table
from common.report.page import ReportError
from common.report.tables import Table
from common.system.array_files import read_arrays

_SLICES, _ROW = "reference slices", "reference set"


@dataclass(frozen=True)
class ReferenceExplanation:
    """The reference set of one organ.

    Attributes:
        subject: the organ.
        about: what its synthetic slices are.
        charts: t-SNE and PCA; empty for too few slices.
        apart, attention, shortcut: tables; None where there is no figure.
        figures: those of the tables.
    """

    subject: str
    about: str
    charts: Sequence[Chart]
    apart: Table | None
    attention: Table | None
    shortcut: Table | None
    figures: Scores


def reference_explanations(folder: Path) -> list[ReferenceExplanation]:
    """One for each organ whose files are in ``folder``; none if the run kept none.

    Args:
        folder: ``<run>/reference/explanations``, as :func:`server.explanations.explain_reference` writes it.

    Raises:
        ReportError: if a file cannot be read or does not fit the other.
    """
    return [_explanation(path) for path in sorted(folder.glob("*.npz"))]


def explanations_json(explanations: Sequence[ReferenceExplanation]) -> bytes:
    """The figures of every organ at full precision."""
    return json.dumps({one.subject: one.figures.model_dump() for one in explanations}, indent=2).encode()


def _explanation(path: Path) -> ReferenceExplanation:
    try:
        arrays = read_arrays(path)
        figures = Scores.model_validate(json.loads(path.with_suffix(".json").read_bytes()))
        subject = str(arrays["subject"])
        charts = embedding_charts(subject[:1].upper() + subject[1:], arrays)
    except (OSError, ValueError, ValidationError, KeyError, IndexError, DamagedFileError) as error:
        raise ReportError(f"{path}: not what the run keeps of a reference set ({error}); resume the run") from error
    named = {subject: figures}
    return ReferenceExplanation(
        subject,
        str(arrays["about"]),
        charts,
        apart_table(named, _ROW),
        attention_table(named, _SLICES, _ROW),
        shortcut_table(named, _SLICES, _ROW),
        figures,
    )
