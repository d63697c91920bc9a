"""What the report says of one contrast made from another."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_generators import LAST, THERE, change, gallery, translation

from common.figures.figure import ImageScores
from common.figures.formatting import DECIBEL, SIMILARITY
from common.report.charts import Chart
from common.results.study import GanResult, Results
from server.report.build import build_study_report
from server.report.figure_tables import curves, final_table, rounds_table
from server.report.further import further
from server.report.generators import gan_part
from server.report.limits import meanings
from server.report.participation import participation
from server.report.protocols import in_short, sentence

Write = Callable[..., Path]


@pytest.fixture
def own(results: Results) -> Results:
    """The fabricated study with the translation as its only GAN, to change."""
    own = results.model_copy(deep=True)
    own.gans = {"translation": translation()}
    return own


@pytest.fixture
def final(own: Results) -> ImageScores:
    return own.gans["translation"].final[THERE]


def drawn(chart: Chart) -> str:
    return f"{chart.svg} {[name for _, name in chart.legend]}"


def texts(gan: GanResult) -> dict[str, list[str]]:
    table = final_table(gan.final, "Round 6")
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_the_final_table_sets_translated_and_unchanged_side_by_side(own: Results, final: ImageScores) -> None:
    rows = texts(own.gans["translation"])
    ssim, psnr = final["ssim", "foreground"], final["psnr", "foreground"]
    unchanged = SIMILARITY.text(ssim.references["unchanged"])
    assert rows["SSIM, foreground"] == [SIMILARITY.text(ssim.value), f"unchanged slices {unchanged}", "–", "92", "12"]
    assert rows["PSNR, foreground"][2] == DECIBEL.signed.text(6.14)
    assert rows["PSNR, foreground"][0] == DECIBEL.text(psnr.value)
    assert rows["FD-EffLite0"][1] == (
        "real slices of other patients 8.40; blurred real slices 57.3; unchanged slices 47.9"
    )
    assert set(rows) == {figure.name for figure in final.values()}


def test_where_unchanged_slices_cannot_be_compared_there_is_no_reference_and_no_gain() -> None:
    gan = translation(comparable=False)
    value, compared, gain, *_ = texts(gan)["PSNR, foreground"]
    assert (compared, gain) == ("", "–")
    assert sentence("it", gan.final).startswith(f"it: {THERE}, PSNR, foreground {value} (92 slices of 12 patients")
    charts = curves([(r.round, r.scores[THERE]) for r in gan.rounds], None)
    assert [chart.title for chart in charts.first] == [
        "SSIM, foreground",
        "PSNR, foreground, dB",
        "FD-EffLite0, n = 48",
    ]
    assert not any("unchanged" in drawn(chart) for chart in [*charts.first, *charts.further])


def test_every_figure_has_a_chart_and_those_that_say_most_come_first(own: Results) -> None:
    rounds = [(r.round, r.scores[THERE]) for r in own.gans["translation"].rounds]
    charts = curves(rounds, 6)
    assert [chart.title for chart in charts.first] == [
        "SSIM, foreground",
        "PSNR, foreground, dB",
        "FD-EffLite0, n = 48",
    ]
    assert all("unchanged slices" in drawn(chart) for chart in charts.first)
    assert len(charts.first) + len(charts.further) == len(list(rounds[0][1].values()))
    for _, scores in rounds:
        for metric in ("ssim", "psnr"):
            change(scores, (metric, "lesion"), value=None)
    assert not [chart for chart in curves(rounds, 6).further if "lesion" in chart.title]


def test_a_gain_over_unchanged_slices_is_claimed_only_above_zero(own: Results, final: ImageScores) -> None:
    assert "over unchanged slices, an interval above zero (92 slices of 12 patients" in further(own)[-1]
    change(final, ("psnr", "foreground", "unchanged"), value=0.3, low=-0.2, high=0.8)
    assert "includes zero, so no gain is shown" in further(own)[-1]


def test_many_directions_have_a_short_clause_each(final: ImageScores) -> None:
    said = sentence("it", {"a to b": final, "b to c": final, "c to d": final})
    assert said.count(DECIBEL.text(final["psnr", "foreground"].value)) == 3
    assert "slices of 12" not in said


def test_the_table_of_rounds_has_a_row_a_round_and_the_distance_of_unchanged_slices(own: Results) -> None:
    gan = own.gans["translation"]
    rounds = [(r.round, r.scores[THERE]) for r in gan.rounds]
    table = rounds_table(rounds, {r.round: "1 s" for r in gan.rounds}, gan.chosen_round, THERE)
    assert len(table.rows) == LAST
    assert {"SSIM, lesion", "PSNR, foreground, dB", "FD-EffLite0, n = 48"} <= {group for group, _ in table.groups}
    assert "47.9" in [cell.text for cell in table.rows[0]]


def test_sites_that_hold_one_contrast_alone_are_not_missed(own: Results) -> None:
    gan = own.gans["translation"]
    found = participation(gan, own.sites)
    assert found.table is None
    assert "All 2 training sites (hospital1, hospital2) contributed to each of 6 rounds" in found.sentence
    assert "No part in it: hospital3, as said under Sites." in found.sentence
    gan.rounds[1].contributors = ["hospital1"]
    assert "Of 12 expected contributions (2 sites, 6 rounds), 1 did not count" in participation(gan, own.sites).sentence


def test_results_that_do_not_say_who_could_take_part_expect_every_training_site(own: Results) -> None:
    gan = own.gans["translation"].model_copy(update={"sites": []})
    assert "Of 18 expected contributions" in participation(gan, own.sites).sentence


def test_the_page_and_the_spreadsheets_hold_the_scores(own: Results, final: ImageScores, write_study: Write) -> None:
    run = write_study(own)
    file = run / "reference" / "translation" / "brain-t1-to-brain-t2.npz"
    file.parent.mkdir(parents=True)
    np.savez_compressed(file, allow_pickle=False, **gallery("translation", THERE))
    report = build_study_report(run)
    page = report.read_text()
    assert "translation: one contrast made from another of the same slice" in page
    assert "Reference slice 1, real target" in page
    assert SIMILARITY.text(final["ssim", "foreground"].value) in page
    figures = list(csv.DictReader((report.parent / "gan_figures.csv").open()))

    def row(reference_part: str, run: str, *key: str) -> dict[str, str]:
        wanted = (reference_part, run, *key)
        at = ("reference_part", "run", "metric", "part", "against")
        return next(one for one in figures if tuple(one[name] for name in at) == wanted)

    ssim = final["ssim", "foreground"]
    assert float(row("final", "1", "ssim", "foreground", "")["value"]) == ssim.value
    assert float(row("final", "1", "ssim", "foreground", "")["low"]) == ssim.low
    lesion = row("final", "1", "psnr", "lesion", "")
    assert float(lesion["reference_unchanged"]) == final["psnr", "lesion"].references["unchanged"]
    assert float(row("final", "2", "psnr", "foreground", "unchanged")["value"]) == 6.14
    assert float(row("selection", "1", "frechet", "", "")["reference_unchanged"]) == 47.9
    assert len(list(csv.DictReader((report.parent / "gan_rounds.csv").open()))) == LAST
    over = json.loads((report.parent / "generators.json").read_text())["translation"]
    assert over["subjects"][THERE]["ssim"]["runs"] == 2


def test_what_its_figures_mean_is_said(own: Results) -> None:
    assert any("the gain over it" in text for text in meanings(own))
    assert any("can only guess" in text for text in meanings(own))


def test_the_terminal_is_told_the_figure_and_its_floor(final: ImageScores) -> None:
    said = in_short(final)
    assert DECIBEL.text(final["psnr", "foreground"].value) in said
    assert f"unchanged slices {DECIBEL.text(13.1)}" in said


def test_the_part_names_subject_kind_and_sites(own: Results) -> None:
    part = gan_part("translation", own.gans["translation"], own.sites, [])
    assert part.title == "translation: one contrast made from another of the same slice"
    assert [subject.name for subject in part.subjects] == [THERE]
    assert len(part.subjects[0].curves) == 3


def test_the_page_never_scrolls_sideways_on_a_phone(
    own: Results, write_study: Write, measure: Callable[[Path, int], Any]
) -> None:
    page = measure(build_study_report(write_study(own)), 390)
    assert page.content <= 390, page.wide
    assert page.wide == []
