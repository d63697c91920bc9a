"""Tables refuse rows that do not fit; CSV files hold full precision and leave unknown figures empty."""

from pathlib import Path

import pandas as pd
import pytest

from common.figures.formatting import AUC
from common.metrics.bootstrap import Estimate
from common.report.figures import FIGURE_COLUMNS, figure_fields
from common.report.tables import Table, figure, heat_map, word, write_csv


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit its 2 columns"):
        Table("t", ["a", "b"], [[word("x")]])


def test_a_figure_without_bounds_says_so() -> None:
    assert figure(Estimate(value=0.5), AUC).small == "(no interval)"
    assert figure(Estimate(value=None), AUC).text == "–"
    assert figure(None, AUC).text == "–"


def test_heat_runs_from_chance_to_perfect_and_marks_a_sites_own_model() -> None:
    heat = heat_map("AUC", ["a", "b"], ["a", "c"], [[1.0, 0.75], [0.3, None]], None, AUC, row_title="model")
    assert [[cell.warmth for cell in row] for row in heat.cells] == [[1.0, 0.5], [0.0, None]]
    assert [[cell.own for cell in row] for row in heat.cells] == [[True, False], [False, False]]
    assert heat.cells[1][1].text == "–"


def test_csv_keeps_full_precision_and_leaves_unknown_figures_empty(tmp_path: Path) -> None:
    columns = ["site", *FIGURE_COLUMNS]
    figure = Estimate(1 / 3, 0.1, 0.5).figure("auc", references={"chance": 0.5}, conditions={"bins": 3})
    rows = [{"site": "a,b", **figure_fields(figure)}, {"site": "c"}]
    table = pd.read_csv(write_csv(tmp_path / "t.csv", columns, rows), float_precision="round_trip")
    assert (table.loc[0, "value"], table.loc[0, "low"], table.loc[0, "reference_chance"]) == (1 / 3, 0.1, 0.5)
    assert (table.loc[0, "site"], table.loc[0, "name"], table.loc[0, "conditions"]) == ("a,b", "AUC", '{"bins": 3}')
    assert table.loc[1].isna().sum() == len(FIGURE_COLUMNS)
