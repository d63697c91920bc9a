"""What the report says of one contrast made from another."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_generators import LAST, THERE, gallery, translation

from common.report.formatting import DECIBEL, SIMILARITY
from common.results import FinalTranslation, GanResult, Results
from common.results_classifier import Interval
from server.report.build import build_study_report
from server.report.further import further
from server.report.generators import gan_part, rounds_table
from server.report.kinds import KINDS, kind_of
from server.report.limits import meanings
from server.report.participation import participation

Write = Callable[..., Path]


@pytest.fixture
def own(results: Results) -> Results:
    """The fabricated study with the translation as its only GAN, to change."""
    own = results.model_copy(deep=True)
    own.gans = {"translation": translation()}
    return own


@pytest.fixture
def final(own: Results) -> FinalTranslation:
    final = own.gans["translation"].final[THERE]
    assert isinstance(final, FinalTranslation)
    return final


def texts(gan: GanResult) -> list[list[str]]:
    table = KINDS["translation"].final_table(gan.final, "Round 6")
    return [[cell.text for cell in row] for row in table.rows]


def test_the_final_table_sets_translated_and_unchanged_side_by_side(own: Results, final: FinalTranslation) -> None:
    one = final.translation
    foreground, lesion, whole = texts(own.gans["translation"])
    assert foreground == [
        "foreground",
        SIMILARITY.text(one.foreground_ssim),
        SIMILARITY.text(one.unchanged_foreground_ssim),
        DECIBEL.text(one.foreground_psnr),
        DECIBEL.text(one.unchanged_foreground_psnr),
        DECIBEL.signed.text(6.14),
        "92",
        "12",
    ]
    assert lesion[:3] == ["lesion", SIMILARITY.text(one.lesion_ssim), SIMILARITY.text(one.unchanged_lesion_ssim)]
    assert lesion[6] == "41"
    assert whole[3] == DECIBEL.text(one.psnr)


def test_where_unchanged_slices_cannot_be_compared_there_are_dashes_and_no_gain() -> None:
    gan = translation(comparable=False)
    foreground, *_ = texts(gan)
    assert (foreground[2], foreground[4], foreground[5]) == ("–", "–", "–")
    kind = KINDS["translation"]
    assert "no floor for it" in kind.clause("it", THERE, gan.final[THERE])
    assert kind.distances_beside(gan.final[THERE]) == []
    panels = kind.panels([(1, gan.rounds[0].scores[THERE])])
    titles = {panel.title: [line.name for line in panel.series] for panel in panels}
    assert titles["SSIM to the real target, foreground"] == ["translated"]
    assert titles["FD-EffLite0, n = 48"] == ["generated", "real"]


def test_charts_show_the_foreground_the_set_and_the_lesion(own: Results) -> None:
    rounds = [(r.round, r.scores[THERE]) for r in own.gans["translation"].rounds]
    panels = KINDS["translation"].panels(rounds)
    assert [panel.title for panel in panels] == [
        "SSIM to the real target, foreground",
        "PSNR to the real target, foreground, dB",
        "FD-EffLite0, n = 48",
        "SSIM to the real target, lesion",
        "PSNR to the real target, lesion, dB",
    ]
    assert all("unchanged" in [line.name for line in panel.series] for panel in panels)
    for _, scores in rounds:
        scores.translation.lesion_ssim = scores.translation.lesion_psnr = None
    assert not [panel for panel in KINDS["translation"].panels(rounds) if "lesion" in panel.title]


def test_a_gain_over_unchanged_slices_is_claimed_only_above_zero(own: Results, final: FinalTranslation) -> None:
    assert "above unchanged slices, an interval above zero (92 slices of 12 patients" in further(own)[-1]
    final.foreground_psnr_gain = Interval(mean=0.3, low=-0.2, high=0.8)
    assert "includes zero, so no gain is shown" in further(own)[-1]


def test_many_directions_are_told_in_one_clause(final: FinalTranslation) -> None:
    said = KINDS["translation"].in_short("it", {"a to b": final, "b to c": final, "c to d": final})
    assert said.count(SIMILARITY.interval(final.foreground_ssim_interval)) == 3


def test_the_table_of_rounds_has_a_row_a_round_and_the_distance_of_unchanged_slices(own: Results) -> None:
    table = rounds_table(KINDS["translation"], own.gans["translation"], THERE)
    assert len(table.rows) == LAST
    assert {"SSIM to the target, lesion", "PSNR to the target, dB, foreground", "Fréchet distance"} <= {
        group for group, _ in table.groups
    }
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


def test_the_page_and_the_spreadsheets_hold_the_scores(
    own: Results, final: FinalTranslation, write_study: Write
) -> None:
    run = write_study(own)
    file = run / "reference" / "translation" / "brain-t1-to-brain-t2.npz"
    file.parent.mkdir(parents=True)
    np.savez_compressed(file, allow_pickle=False, **gallery("translation", THERE))
    report = build_study_report(run)
    page = report.read_text()
    assert "translation: one contrast made from another of the same slice" in page
    assert "Reference slice 1, real target" in page
    assert SIMILARITY.text(final.translation.foreground_ssim) in page
    (first, second) = csv.DictReader((report.parent / "gan_final.csv").open())
    assert float(first["foreground_ssim"]) == final.translation.foreground_ssim
    assert float(first["unchanged_lesion_psnr"]) == final.translation.unchanged_lesion_psnr
    assert float(first["foreground_ssim_interval_low"]) == final.foreground_ssim_interval.low
    assert float(first["foreground_psnr_gain_mean"]) == 6.14
    assert second["run"] == "2"
    rounds = list(csv.DictReader((report.parent / "gan_rounds.csv").open()))
    assert len(rounds) == LAST
    assert float(rounds[0]["unchanged_frechet"]) == 47.9
    over = json.loads((report.parent / "generators.json").read_text())["translation"]
    assert over["subjects"][THERE]["ssim"]["runs"] == 2


def test_what_its_figures_mean_is_said(own: Results) -> None:
    assert any("the gain over it" in text for text in meanings(own))
    assert any("can only guess" in text for text in meanings(own))


def test_the_terminal_is_told_the_figure_and_its_floor(final: FinalTranslation) -> None:
    said = kind_of(final).closing(final)
    assert DECIBEL.text(final.translation.foreground_psnr) in said
    assert f"unchanged {DECIBEL.text(13.1)}" in said


def test_the_part_names_subject_kind_and_sites(own: Results) -> None:
    part = gan_part("translation", own.gans["translation"], own.sites, [])
    assert part.title == "translation: one contrast made from another of the same slice"
    assert [subject.name for subject in part.subjects] == [THERE]
    assert len(part.subjects[0].curves) == 5


def test_the_page_never_scrolls_sideways_on_a_phone(
    own: Results, write_study: Write, measure: Callable[[Path, int], Any]
) -> None:
    page = measure(build_study_report(write_study(own)), 390)
    assert page.content <= 390, page.wide
    assert page.wide == []
