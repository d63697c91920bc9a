"""Tables refuse rows that do not fit; CSV files hold full precision and leave unknown figures empty."""

from pathlib import Path

import pandas as pd
import pytest

from common.report.formatting import AUC
from common.report.tables import Table, figure, heat_map, interval_columns, interval_fields, word, write_csv
from common.results_classifier import Interval


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit its 2 columns"):
        Table("t", ["a", "b"], [[word("x")]])


def test_a_figure_without_bounds_says_so() -> None:
    assert figure(Interval(mean=0.5), AUC).small == "(no interval)"
    assert figure(Interval(mean=None), AUC).text == "–"
    assert figure(None, AUC).text == "–"


def test_heat_runs_from_chance_to_perfect_and_marks_a_sites_own_model() -> None:
    heat = heat_map("AUC", ["a", "b"], ["a", "c"], [[1.0, 0.75], [0.3, None]], None, AUC, row_title="model")
    assert [[cell.warmth for cell in row] for row in heat.cells] == [[1.0, 0.5], [0.0, None]]
    assert [[cell.own for cell in row] for row in heat.cells] == [[True, False], [False, False]]
    assert heat.cells[1][1].text == "–"


def test_csv_keeps_full_precision_and_leaves_unknown_figures_empty(tmp_path: Path) -> None:
    columns = ["site", *interval_columns("auc")]
    rows = [
        {"site": "a,b", **interval_fields("auc", Interval(mean=1 / 3, low=0.1, high=0.5))},
        {"site": "c", **interval_fields("auc", None)},
    ]
    table = pd.read_csv(write_csv(tmp_path / "t.csv", columns, rows), float_precision="round_trip")
    assert table.loc[0, "auc_mean"] == 1 / 3
    assert table.loc[0, "site"] == "a,b"
    assert table.loc[1].isna().sum() == 3
