"""The site report: complete where the run was complete, plain about every gap, and marked as the hospital's own."""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.report.build import build_site_report
from client.report.inputs import FILES, Prediction, read_inputs
from client.report.mistakes import mistakes_table
from common.report.page import ReportError

Write = Callable[..., Path]


def test_the_page_says_that_it_stays_in_the_hospital(write_site: Write) -> None:
    page = build_site_report(write_site()).read_text()
    body = page[page.index("<body>") :]
    assert body.index("It stays in this hospital") < body.index("<h1>")


def test_the_page_shows_data_quarantine_arms_and_mistakes(write_site: Write) -> None:
    page = html.unescape(build_site_report(write_site(without=("explanations",))).read_text())
    for said in (
        "8 for training, 2 for validation and 20 for testing",
        "2 studies were left out",
        "case-017",
        "mask is empty",
        "weight in averages",
        "hospital1 (this site)",
        "Generators, in federation: mean losses",
        "demo cohort",
    ):
        assert said in page
    assert page.count("<img ") == 40
    assert page.count('class="outline"') == 24
    assert page.count('class="confusion"') == 10


def test_json_and_csv_beside_the_page_hold_the_same_figures(write_site: Write) -> None:
    site = write_site()
    report = build_site_report(site).parent
    figures = json.loads((report / "results.json").read_text())
    for name, part in (("arms.json", "arms"), ("federated_arms.json", "federated_arms")):
        assert figures[part] == json.loads((site / "results" / name).read_text())
    assert figures["summary"]["quarantine"][0]["reason"] == "mask is empty"
    assert (report / "predictions.csv").read_bytes() == (site / "results" / "predictions.csv").read_bytes()
    arms = pd.read_csv(report / "arms.csv", float_precision="round_trip").set_index(["scope", "arm", "metric"])
    told = {one["metric"]: one for one in figures["federated_arms"]["blob"]["figures"]}
    assert len(told) == 8
    for metric, one in told.items():
        assert arms.loc[("federated", "blob", metric), "value"] == one["value"]
    counts = pd.read_csv(report / "confusion.csv").set_index(["scope", "arm"])
    assert counts.loc[("local", "real"), ["true_positive", "patients"]].tolist() == [170, 20]


def test_the_worst_mistakes_are_those_that_the_predictions_hold(write_site: Write) -> None:
    site = write_site()
    table = mistakes_table(read_inputs(site / "results").predictions)
    assert table is not None
    frame = pd.read_csv(site / "results" / "predictions.csv")
    frame["wrong"] = (frame["probability"] >= 0.5) != (frame["truth"] == 1)
    totals = frame.groupby("patient")["wrong"].sum()
    expected = sorted(totals.index, key=lambda patient: (-totals[patient], patient))[:10]
    assert [row[0].text for row in table.rows] == expected
    one = frame[(frame["patient"] == expected[0]) & (frame["arm"] == "copy_paste")].groupby("scope")["wrong"].sum()
    column = list(table.columns).index("real + copy-paste")
    assert table.rows[0][column].text == f"{one['local']} / {one['federated']}"
    worst = frame[frame["wrong"] & (frame["patient"] == expected[0])]
    most_confident = worst.loc[(worst["probability"] - 0.5).abs().idxmax()]
    assert f"slice {most_confident['slice']}: " in table.rows[0][-1].text
    assert f"p = {most_confident['probability']:.3f}" in table.rows[0][-1].text


def test_models_of_other_sites_are_not_counted_among_this_sites_mistakes(write_site: Write) -> None:
    predictions = read_inputs(write_site() / "results").predictions
    other = [p.model_copy(update={"scope": "cross_site", "arm": "hospital2", "probability": 1.0}) for p in predictions]
    assert mistakes_table(predictions + other) == mistakes_table(predictions)


def test_classifiers_without_a_mistake_are_said_to_have_none(write_site: Write) -> None:
    right = Prediction(arm="real", scope="local", patient="p", slice=0, truth=1, probability=0.9)
    assert mistakes_table([right]) is None
    site = write_site()
    text = "arm,scope,patient,slice,truth,probability\nreal,local,p,0,1,0.9\n"
    (site / "results" / "predictions.csv").write_text(text)
    assert "No classifier got a test slice wrong" in build_site_report(site).read_text()


@pytest.mark.parametrize("part", FILES)
def test_any_part_may_be_missing_and_the_page_says_why(part: str, write_site: Write) -> None:
    page = html.unescape(build_site_report(write_site(without=(FILES[part],))).read_text())
    assert f"There is no {FILES[part]}" in page


def test_a_site_that_has_only_prepared_its_data_gets_a_page(write_site: Write) -> None:
    others = (*(file for part, file in FILES.items() if part != "summary"), "explanations")
    summary = {"quarantine": [], "versions": {}, "config": {}, "declared": {}, "notes": ["trains nothing here"]}
    page = html.unescape(build_site_report(write_site(without=others, summary=summary)).read_text())
    assert "No classifier was scored on this site's test patients." in page
    assert "No study was left out." in page
    assert "trains nothing here" in page


def test_kinds_that_a_gallery_lacks_are_named(write_site: Write) -> None:
    site = write_site(without=("explanations",))
    np.savez(site / "results" / "gallery.npz", real_tumour=np.zeros((2, 32, 32)), blob=np.zeros((1, 32, 32)))
    page = build_site_report(site).read_text()
    assert page.count("<img ") == 3 + 4  # beside the four of the preprocessing steps
    assert "Not in this gallery: synthetic (slices with a tumour), copy-paste" in page


def test_a_folder_without_results_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no results of a site there"):
        build_site_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_the_study_report_is_linked_in_simulation_alone(write_site: Write, tmp_path: Path) -> None:
    site = write_site()
    assert "All sites together" not in build_site_report(site).read_text()
    (site.parent.parent / "results.json").write_text("{}")
    page = build_site_report(site)
    (link,) = re.findall(r'href="([^"]+)">All sites together', page.read_text())
    assert (page.parent / link).resolve() == site.parent.parent / "report" / "index.html"
    elsewhere = shutil.copytree(site, tmp_path / "hospital")
    assert "All sites together" not in build_site_report(elsewhere).read_text()


def test_names_from_the_data_are_text_and_never_markup(write_site: Write) -> None:
    hostile = "<script>alert(1)</script>"
    summary = {"quarantine": [{"patient": hostile, "reason": hostile}], "site": hostile, "notes": [hostile]}
    page = build_site_report(write_site(summary=summary)).read_text()
    assert "<script" not in page
    assert page.count(html.escape(hostile)) >= 4


def test_each_step_of_preprocessing_is_shown_before_and_after(write_site: Write) -> None:
    page = html.unescape(build_site_report(write_site()).read_text())
    assert "Contrast stretch: percentiles 1 and 99 become 0 and 1" in page
    assert page.count("A slice before the step") == page.count("A slice after the step") == 2


def test_the_privacy_section_shows_what_was_spent_and_what_is_left(write_site: Write) -> None:
    site = write_site()
    page = build_site_report(site).read_text()
    section = html.unescape(
        re.sub(r"<[^>]+>", " ", page[page.index('<h2 id="privacy">') : page.index('<h2 id="limits">')])
    )
    for expected in ("gan/cgan/discriminator", "4.000", "3.17", "3.52", "5.25", "cap of 8", "2.75 was left", "4.81"):
        assert expected in section
    assert "Figures on test patients are exact, unless privacy.scores is noised" in section
    (site / "results" / "privacy.json").unlink()
    assert "trained without differential privacy" in build_site_report(site).read_text()


def test_a_patient_whose_name_begins_like_a_formula_is_text_in_the_table(write_site: Write) -> None:
    site = write_site()
    kept = site / "results" / "predictions.csv"
    lines = kept.read_text().splitlines()
    patient = lines[1].split(",")[2]
    kept.write_text("\n".join([lines[0], lines[1].replace(patient, "=1+2"), *lines[2:]]) + "\n")
    report = build_site_report(site).parent
    first, second = (report / "predictions.csv").read_text().splitlines()[1:3]
    assert first.split(",")[2] == "'=1+2"
    assert second == lines[2]
