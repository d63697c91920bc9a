"""Every figure in the tables of a study in trials is the one in ``results.json``, rounded as it is printed."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.report.arms import arm_title
from common.results.study import Results
from server.report.build import build_study_report
from server.report.scopes import titled

Write = Callable[..., Path]
Row = list[str]
TRANSPARENT = {"small", "b"}
"""Tags inside a cell that do not end it."""


class Tables(HTMLParser):
    """Rows of every table by the caption that it starts with; a cell's small print is kept after a space."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[Row]]] = []
        self._in: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append(("", []))
        elif tag == "tr" and self.tables:
            self.tables[-1][1].append([])
        elif tag in ("td", "th") and self.tables:
            self._in = "cell"
            self.tables[-1][1][-1].append("")
        elif tag == "caption":
            self._in = "caption"
        elif tag not in TRANSPARENT:
            self._in = None

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            caption, rows = self.tables[-1]
            self.tables[-1] = (caption + data, rows)
        elif self._in == "cell":
            self.tables[-1][1][-1][-1] += plain(data)

    def rows(self, caption: str) -> list[Row]:
        """Rows of all tables whose caption starts so, headings among them."""
        return [row for title, rows in self.tables for row in rows if title.startswith(caption)]


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def signed(value: float, factor: float = 100, decimals: int = 1) -> str:
    text = f"{value * factor:+.{decimals}f}"
    return text.lstrip("+-") if float(text) == 0 else text


@pytest.fixture(scope="module")
def page(study: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("study")
    (run / "results.json").write_text(study.model_dump_json(by_alias=True))
    return build_study_report(run)


@pytest.fixture(scope="module")
def tables(page: Path) -> Tables:
    return Tables(page.read_text())


@pytest.fixture(scope="module")
def tree(page: Path) -> Any:
    return json.loads((page.parent / "results.json").read_text())


def test_the_classifiers_table_holds_the_spreads_over_run_folds(tables: Tables, tree: Any, study: Results) -> None:
    rows = tables.rows("The classifier by the images that trained it")
    found = {tuple(row[:2]): row[2:] for row in rows}
    of_folds = [one for one in tree["repeated"] if one["kind"] == "folds"]
    outside = [one for one in tree["repeated"] if (one["kind"], one["scope"]) == ("fixed", "external")]
    assert len(of_folds) == 30
    assert len(found) == len(of_folds) + len(outside) + 1  # the headings of both tables are one
    for one in of_folds + outside:
        scope = titled(study, one["scope"]) + (" (fixed split)" if one["kind"] == "fixed" else "")
        cells = found[scope, arm_title(one["arm"])]
        for cell, key in zip(cells, ("accuracy", "precision", "recall", "f1"), strict=False):
            figure = one["figures"][key]
            assert cell == f"{100 * figure['mean']:.1f} % ± {100 * figure['deviation']:.1f}"
        auc = one["figures"]["auc"]
        assert cells[4:] == [f"{auc['mean']:.3f} ± {auc['deviation']:.3f}", str(auc["n"])]


@pytest.mark.parametrize(
    ("table", "caption", "factor", "decimals"),
    [(0, "Accuracy, percentage points", 100, 1), (1, "AUC", 1, 3)],
    ids=["accuracy", "auc"],
)
def test_the_comparisons_hold_both_tests_with_their_n(
    tables: Tables, tree: Any, table: int, caption: str, factor: int, decimals: int
) -> None:
    def told(p: float) -> str:
        return "< 0.001" if p < 0.001 else f"{p:.2g}"

    def written(value: float) -> str:
        return signed(value, factor, decimals)

    rows = tables.rows(f"{caption}: mean difference over n run-folds (2 runs, 3 folds)")
    groups = [row for row in rows if "corrected resampled t-test" in row]
    assert all(row.index("corrected resampled t-test") < row.index("paired t-test") for row in groups)
    scopes = [tree["comparisons"][scope] for scope in ("federated", "sites/mean", "hospital1", "hospital2")]
    assert len(groups) == len(scopes)
    expected = [one for of_scope in scopes for one in of_scope[table]["comparisons"]]
    found = [row for row in rows if " - " in row[0]]
    assert len(found) == len(expected) == 44
    for row, one in zip(found, expected, strict=True):
        corrected, paired = one["corrected"], one["plain"]
        assert row[0] == f"{arm_title(one['arm'])} - {arm_title(one['against'])}"
        assert row[1] == f"{written(corrected['mean'])} ({written(corrected['low'])} to {written(corrected['high'])})"
        printed = [corrected["p"], one["corrected_holm"]["p"], paired["p"], one["plain_holm"]["p"]]
        for cell, p in zip(row[2:6], printed, strict=True):
            assert cell == told(p) or float(cell) == pytest.approx(p, rel=0.05)
        assert row[6:] == [signed(one["difference"]["g_z"], 1, 2).lstrip("+"), str(corrected["n"])]


def test_a_scope_without_tests_says_why(page: Path) -> None:
    assert "hospital3: it does not declare counts" in page.read_text()


def test_the_gains_hold_intervals_and_spreads(tables: Tables, tree: Any, study: Results) -> None:
    found = {tuple(row[:2]): row[2:] for row in tables.rows("Gain over the same classifier")}
    assert len(found) == len(tree["gains"]) + 1 == 31
    for one in tree["gains"]:
        accuracy, auc = one["figures"]
        assert found[titled(study, one["scope"]), arm_title(one["arm"])] == [
            f"{signed(accuracy['value'])} percentage points ({signed(accuracy['low'])} to {signed(accuracy['high'])})",
            f"{100 * one['spreads']['accuracy']['deviation']:.1f}",
            f"{signed(auc['value'], 1, 3)} ({signed(auc['low'], 1, 3)} to {signed(auc['high'], 1, 3)})",
            f"{one['spreads']['auc']['deviation']:.3f}",
            str(one["trials"]),
        ]


def test_the_curves_are_drawn_from_the_trials_and_the_fixed_split(page: Path, tables: Tables, tree: Any) -> None:
    rows = tables.rows("Scored on the fixed test patients")
    for kind, arm, value in (("patients", "real", "4"), ("ratio", "blob", "0.5"), ("patients", "synthetic", "8")):
        one = next(
            one
            for one in tree["repeated"]
            if (one["kind"], one["scope"], one["arm"], one["value"]) == (kind, "federated", arm, value)
        )
        row = next(row for row in rows if row[:3] == ["in federation", arm_title(arm), value])
        assert row[3].startswith(f"{100 * one['figures']['accuracy']['mean']:.1f} %")
        assert row[-1] == str(one["figures"]["accuracy"]["n"])
    assert [row[2] for row in rows if row[:2] == ["in federation", "real + synthetic"]] == [
        *("4", "8", "all"),
        *("0.5", "1", "2"),
    ]
    charts = re.findall(r'aria-label="(in federation\. [^"]+)"', page.read_text())
    assert any("4: " in chart and "8: " in chart and "all: " in chart for chart in charts)


def test_the_matrices_hold_auc_f1_and_gains_in_two_colours(page: Path, tables: Tables, tree: Any) -> None:
    def values(cells: list[list[Any]]) -> list[list[float | None]]:
        return [[cell and cell["value"] for cell in row] for row in cells]

    gains = values(tree["cross_site_gain"]["real_synthetic"]["figures"]["auc_over_real_only"])
    rows = [row[1:] for row in tables.rows("Gain in AUC, real + synthetic over real only")[1:]]
    for cells, of_row in zip(rows, gains, strict=True):
        for cell, value in zip(cells, of_row, strict=True):
            assert cell.split(" ")[0] == ("–" if value is None else signed(value, 1, 3))
    below = sum(value < 0 for row in gains for value in row if value is not None)
    # In the matrices of AUC and of accuracy.
    assert below > 3
    assert page.read_text().count('<td class="cold') == 2 * below
    for arm, matrix in (
        ("real slices only", tree["cross_site"]),
        ("synthetic only", tree["cross_site_arms"]["synthetic"]),
    ):
        rows = [row[1:] for row in tables.rows(f"F1, trained on {arm}")[1:]]
        assert rows[0][0].startswith(f"{100 * values(matrix['figures']['f1'])[0][0]:.1f} %")


def test_what_classifiers_look_at_stands_beside_chance_and_the_bound(tables: Tables, tree: Any) -> None:
    attention = {row[1]: row[2:] for row in tables.rows("Share of Grad-CAM's mass")}
    shortcut = {row[1]: row[2:] for row in tables.rows("Healthy test slices called tumour")}
    within = set()
    for arm, scores in tree["arms"]["federated"].items():
        looks = {(one["metric"], one["part"], one["against"]): one["value"] for one in scores["figures"]}
        share, chance, above = attention[arm_title(arm)]
        assert share.startswith(f"{100 * looks['attention', '', '']:.1f} %")
        assert chance.startswith(f"{100 * looks['attention', 'chance', '']:.1f} %")
        assert above.startswith(signed(looks["attention", "", "chance"]))
        cells = shortcut[arm_title(arm)]
        by_refilling = looks["called_tumour", "refilled", "untouched"]
        assert cells[2].startswith(signed(by_refilling))
        assert cells[3].startswith("yes" if abs(by_refilling) <= 0.03 else "no")
        within.add(cells[3])
    assert len(within) > 1


def test_the_spreadsheets_hold_every_trial_comparison_and_gain(page: Path, study: Results) -> None:
    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(page.parent / name, float_precision="round_trip", keep_default_na=False, na_values=[""])

    trials = read("trials.csv")
    scored = [scopes for trial in study.trials for scopes in (trial.arms, trial.left_out)]
    assert len(trials) == sum(len(one.figures) for of in scored for arms in of.values() for one in arms.values())
    fold = study.trials[2]
    row = trials[
        (trials["trial"] == fold.name)
        & (trials["scored_on"] == "patients left out")
        & (trials["scope"] == "hospital2")
        & (trials["arm"] == "blob")
        & (trials["metric"] == "f1")
    ]
    assert row["value"].tolist() == [fold.left_out["hospital2"]["blob"]["f1"].value]
    comparisons = read("comparisons.csv")
    first = study.comparisons["federated"][0].comparisons[0]
    assert (
        comparisons["corrected_p"].tolist()[0]
        == study.comparisons[next(iter(study.comparisons))][0].comparisons[0].corrected.p
    )
    assert set(comparisons["corrected_test_to_train"]) == {first.corrected.test_to_train}
    gains = read("gains.csv")
    told = [(figure.value, gain.trials) for gain in study.gains for figure in gain.figures]
    assert list(zip(gains["value"], gains["training_sets"], strict=True)) == told


def test_one_trial_has_no_deviation_and_says_so(study: Results, write_study: Write) -> None:
    own = study.model_copy(deep=True)
    own.repeated = [one for one in own.repeated if one.kind == "fixed"]
    for one in own.repeated:
        for figure in one.figures.values():
            figure.deviation, figure.n = None, 1
    rows = Tables(build_study_report(write_study(own)).read_text()).rows("The classifier by the images that trained it")
    assert all(row[2].endswith("(one trial)") and row[-1] == "1" for row in rows if row[1] != "arm")


def test_limits_tell_of_repetitions_and_of_what_holm_covers(page: Path) -> None:
    text = page.read_text()
    assert "The classifier study was repeated (2 runs of 3 folds)" in text
    assert "Probabilities are corrected for the comparisons of one table (Holm)" in text
    assert "The smallest number of run-folds in a test is 6" in text
    assert "without a correction" not in text
