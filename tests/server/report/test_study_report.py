"""The study report: the same figures in HTML, JSON and CSV, its limits, and nothing that a stranger slipped in."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.figures.formatting import duration
from common.report.page import ReportError
from common.results.privacy import (
    AuditBound,
    MechanismSpent,
    MechanismTests,
    PrivacyRefusal,
    PrivacyResults,
    PrivacyStatement,
)
from common.results.study import Results, SiteEntry
from common.study.privacy import NOT_COVERED
from server.report.build import build_study_report

Write = Callable[..., Path]


class Cells(HTMLParser):
    """Texts of the table cells (not the headings), and of the whole page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.text = ""
        self._inside = self._style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._style = tag in ("style", "script")
        if tag == "td":
            self._inside = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._style:
            return
        self.text += data
        if self._inside:
            self.cells[-1] += data


def leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value)
    else:
        yield tree


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def ways_to_write(value: float) -> set[str]:
    """Every way in which the report may write a figure."""
    written = {f"{abs(value) * factor:.{decimals}f}" for factor in (1, 100) for decimals in range(6)}
    return written | numbers(duration(abs(value)))


def test_every_number_in_a_table_comes_from_the_results(study: Results, write_study: Write) -> None:
    report = build_study_report(write_study(study))
    page = Cells(report.read_text())
    tree = json.loads(study.model_dump_json(by_alias=True))
    over_runs = json.loads((report.parent / "generators.json").read_text())
    allowed = {"0.001"}  # what a probability may be said to be below
    for leaf in leaves([tree, over_runs]):
        if isinstance(leaf, int | float) and not isinstance(leaf, bool):
            allowed |= ways_to_write(leaf)
    # How many patients or which ratio is told as text.
    allowed |= {one["value"] for one in tree["repeated"]}
    found = set().union(*map(numbers, page.cells))
    assert len(found) > 400
    assert found - allowed == set()


def test_another_figure_gives_another_page(results: Results, write_study: Write) -> None:
    changed = results.model_copy(deep=True)
    changed.arms["hospital2"]["blob"]["f1"].value = 0.12345
    assert "12.3" in "".join(Cells(build_study_report(write_study(changed)).read_text()).cells)


def test_json_and_csv_beside_the_page_hold_the_same_figures(results: Results, write_study: Write) -> None:
    report = build_study_report(write_study(results)).parent
    assert Results.model_validate_json((report / "results.json").read_text()) == results
    arms = pd.read_csv(report / "arms.csv", float_precision="round_trip").set_index(["scope", "arm", "metric"])
    counts = pd.read_csv(report / "confusion.csv").set_index(["scope", "arm"])
    for scope, by_arm in results.arms.items():
        for arm, scores in by_arm.items():
            assert arms.loc[(scope, arm, "auc"), "high"] == scores["auc"].high
            assert scores.confusion is not None
            assert counts.loc[(scope, arm), "true_negative"] == scores.confusion.true_negative
    cross = pd.read_csv(report / "cross_site.csv", float_precision="round_trip")
    assert results.cross_site is not None
    auc = cross[cross["metric"] == "auc"]
    cells = [cell for row in results.cross_site.figures["auc"] for cell in row if cell is not None]
    assert auc["value"].tolist() == [cell.value for cell in cells]
    assert auc["low"].tolist() == [cell.low for cell in cells]
    assert ("hospital2", "external") not in set(zip(cross["model"], cross["site"], strict=True))
    rounds = pd.read_csv(report / "gan_rounds.csv", float_precision="round_trip")
    rounds = rounds[rounds["gan"] == "cgan"].reset_index()
    figures = pd.read_csv(report / "gan_figures.csv", float_precision="round_trip", keep_default_na=False)
    of_lesions = figures[(figures[["gan", "metric", "part", "against"]] == ["cgan", "psnr", "lesion", ""]).all(axis=1)]
    of_rounds = of_lesions[of_lesions["reference_part"] == "selection"]["value"].astype(float)
    assert of_rounds.tolist() == [r.scores["brain"]["psnr", "lesion"].value for r in results.gans["cgan"].rounds]
    assert rounds["refused"].tolist()[2] == "hospital3: its update's norm is above the bound"
    assert rounds["loss.generator.l1"].tolist()[0] == results.gans["cgan"].rounds[0].losses["generator.l1"]
    sites = pd.read_csv(report / "sites.csv").set_index("site")
    assert sites.loc["hospital1", "patients"] == 30
    assert pd.isna(sites.loc["hospital3", "patients"])


def test_refusals_silence_and_undeclared_counts_are_named(results: Results, write_study: Write) -> None:
    page = Cells(build_study_report(write_study(results)).read_text())
    assert "not declared" in page.cells
    assert "no reply" in page.cells
    assert any("norm is above the bound" in cell for cell in page.cells)
    assert "2 did not count: 1 refused, 1 without a reply" in page.text
    assert "external: takes no part in training" in page.text


def test_a_federation_without_gaps_is_told_in_a_sentence(results: Results, write_study: Write) -> None:
    full = results.model_copy(deep=True)
    for r in (r for gan in full.gans.values() for r in gan.rounds):
        r.contributors, r.refused = ["hospital1", "hospital2", "hospital3"], []
    text = Cells(build_study_report(write_study(full)).read_text()).text
    assert "All 3 training sites (hospital1, hospital2, hospital3) contributed to each of 6 rounds" in text
    assert "Contributions by round" not in text


def test_slices_that_sites_released_are_counted_beside_the_exchange(results: Results, write_study: Write) -> None:
    own = results.model_copy(deep=True)
    own.gans["cyclegan"].exchange = "proxies"
    own.gans["cyclegan"].released = {"hospital1": 128, "hospital2": 96}
    text = Cells(build_study_report(write_study(own)).read_text()).text
    assert "Synthetic slices released: 128 by hospital1 and 96 by hospital2." in text
    assert "slices released" not in Cells(build_study_report(write_study(results)).read_text()).text


@pytest.mark.parametrize("demo", [True, False])
def test_the_demo_cohorts_limits_are_printed_if_it_was_used(demo: bool, results: Results, write_study: Write) -> None:
    own = results.model_copy(deep=True)
    own.run.demo_cohort = demo
    page = build_study_report(write_study(own)).read_text()
    assert ("deformation of one anatomy for each organ" in page) == demo
    assert ("Contact sheet of the demo cohort" in page) == demo
    assert "FD-EffLite0 is a Fréchet distance of other features" in page
    assert "it is not FID" in page


def test_figures_without_an_interval_are_named_with_the_reasons(results: Results, write_study: Write) -> None:
    own = results.model_copy(deep=True)
    for arms in own.arms.values():
        for one in arms.values():
            for figure in one.figures:
                figure.value, figure.low, figure.high = 0.8, 0.7, 0.9
    assert "Some figures have no interval" not in build_study_report(write_study(own)).read_text()
    one = own.arms["hospital2"]["real"]["accuracy"]
    one.low = one.high = None
    text = Cells(build_study_report(write_study(own)).read_text()).text
    assert "Some figures have no interval (hospital2): behind them are fewer patients than study.min_cell" in text
    assert "80.0 % (no interval)" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_site_reports_are_linked_only_where_they_exist(results: Results, write_study: Write) -> None:
    run = write_study(results)
    theirs = run / "sites" / "hospital2" / "report"
    theirs.mkdir(parents=True)
    (theirs / "index.html").write_text("")
    page = build_study_report(run)
    links = re.findall(r'href="(\.\./sites/[^"]+)"', page.read_text())
    assert links == ["../sites/hospital2/report/index.html"]
    assert (page.parent / links[0]).resolve() == (theirs / "index.html").resolve()


def test_what_a_site_says_of_itself_is_text_and_never_markup(results: Results, write_study: Write) -> None:
    own = results.model_copy(deep=True)
    hostile = "<img src=x onerror=alert(1)>"
    own.sites["../../etc"] = SiteEntry(organ="brain", modality="MR", notes=[hostile], roles=["evaluate"])
    own.sites[hostile] = SiteEntry(organ=hostile, modality="MR")
    own.arms[hostile] = own.arms["hospital1"]
    own.gans["cgan"].rounds[2].refused[0].reason = hostile
    page = build_study_report(write_study(own)).read_text()
    assert hostile not in page
    assert html.escape(hostile) in page
    assert "../sites/.." not in page


def test_the_page_names_no_other_resource(results: Results, write_study: Write) -> None:
    page = build_study_report(write_study(results, pictures=True)).read_text()
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)) == []
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    inside = ("data:image/png;base64,", "#")
    assert {s for s in sources if not s.startswith(inside)} == {
        "results.json",
        "arms.csv",
        "comparisons.csv",
        "confusion.csv",
        "cross_site.csv",
        "explanations.json",
        "gains.csv",
        "gan_figures.csv",
        "gan_rounds.csv",
        "generators.json",
        "sites.csv",
        "trials.csv",
    }


def test_every_part_is_linked_and_none_is_empty(results: Results, write_study: Write) -> None:
    page = build_study_report(write_study(results, pictures=True)).read_text()
    panels = re.findall(r'<section class="panel" id="([^"]+)">', page)
    assert panels == ["overview", "images", "classifiers", "sites", "rounds", "privacy", "methods"]
    tabs = page[page.index('<nav class="tabs"') : page.index("</nav>")]
    assert re.findall(r'<a href="#([^"]+)">', tabs) == panels
    anchors = re.findall(r'<h3 id="([^"]+)">', page)
    assert anchors == re.findall(r'<li><a href="#([^"]+)">', page)
    assert {"pictures", "generators", "answer", "arms", "cross-site", "training", "not-measured"} <= set(anchors)
    assert not {"statistics", "curves", "explanations"} & set(anchors)
    assert all('alt="' in image and 'alt=""' not in image for image in re.findall(r"<img [^>]*>", page))


def test_what_was_not_measured_is_said_once_with_its_key(study: Results, write_study: Write) -> None:
    whole = build_study_report(write_study(study, pictures=True)).read_text()
    assert "study.curve=" not in whole
    less = study.model_copy(deep=True)
    less.comparisons, less.repeated = {}, [one for one in study.repeated if one.kind == "fixed"]
    page = build_study_report(write_study(less)).read_text()
    missing = page[page.index('<h3 id="not-measured">') : page.index('<h3 id="limits">')]
    for key in ("study.folds=5", "study.curve=[4,8]", "study.ratios=[0.5,2]"):
        assert page.count(key) == missing.count(key) == 1


def test_only_the_pages_own_script_may_run(results: Results, write_study: Write) -> None:
    page = build_study_report(write_study(results)).read_text()
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]+)"', page)[0])
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert page.count("<script") == 1
    for way_out in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "WebSocket"):
        assert way_out not in script


def test_a_run_that_reached_nothing_still_gives_a_page(results: Results, write_study: Write) -> None:
    empty = Results(run=results.run.model_copy(update={"finished": None, "config": {}, "versions": {}}))
    page = build_study_report(write_study(empty))
    text = Cells(page.read_text()).text
    assert "This run has not finished" in text
    gaps = ("No site had said hello", "No generator was trained", "No arm of", "No cross-site", "no repetitions")
    for gap in (*gaps, "No arm was tested against another", "No gain over real images", "did not vary it"):
        assert gap in text
    for name in ("arms.csv", "trials.csv", "comparisons.csv", "gains.csv"):
        assert (page.parent / name).read_text().count("\n") == 1


def test_a_folder_without_results_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"results\.json: no results there; give the folder of a study"):
        build_study_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_results_of_another_shape_are_a_clear_error_and_nothing_is_written(
    results: Results, write_study: Write
) -> None:
    run = write_study(results)
    tree = json.loads((run / "results.json").read_text())
    tree["gans"]["cgan"]["rounds"][0]["ssim"] = "high"
    (run / "results.json").write_text(json.dumps(tree))
    with pytest.raises(ReportError, match=r"results\.json: gans\.cgan\.rounds\.0\.ssim"):
        build_study_report(run)
    assert not (run / "report").exists()


def test_a_broken_gallery_is_a_clear_error(results: Results, write_study: Write) -> None:
    run = write_study(results, pictures=True)
    (run / "reference" / "cgan" / "brain.npz").write_bytes(b"PK half a file")
    with pytest.raises(ReportError, match=r"brain\.npz"):
        build_study_report(run)


def private_results(results: Results) -> Results:
    mechanisms = [
        MechanismSpent(mechanism=f"gan/cgan/{name}", sigma=4.0, q=0.08, steps=600, epsilon=2.13)
        for name in ("discriminator", "generator")
    ]
    statement = PrivacyStatement(
        delta=1e-5,
        patients=200,
        max_grad_norm=1.0,
        mechanisms=mechanisms,
        models={"cgan": 3.17},
        epsilon=3.17,
        epsilon_rdp=3.52,
    )
    bound = AuditBound(
        mechanism="gan/cgan/generator",
        claimed=1.66,
        bound=0.31,
        canaries=1000,
        guesses=200,
        right=134,
        steps=30,
        sigma=4.0,
        q=0.08,
        delta=1e-5,
        false_alarm=0.01,
        level=0.0002,
        stated=MechanismTests(draws=1200, sensitivity=1.04, noise=0.99, p={"sensitivity": 0.73, "noise": 0.27}),
    )
    refusals = [
        PrivacyRefusal(site="hospital2", phase="gan/cgan", round=number, reason="its privacy budget is spent")
        for number in (4, 5, 6)
    ]
    private = PrivacyResults(
        sites={"hospital1": statement}, audit=[bound], refusals=refusals, silent={"hospital3": "no reply within 60 s"}
    )
    return results.model_copy(update={"privacy": private})


def privacy_section(page: str) -> str:
    return Cells(page[page.index('<section class="panel" id="privacy">') : page.index('<h3 id="limits">')]).text


def test_a_private_study_shows_what_it_cost_who_refused_and_what_the_audit_found(
    results: Results, write_study: Write
) -> None:
    section = privacy_section(build_study_report(write_study(private_results(results))).read_text())
    for expected in ("3.17", "3.52", "1e-05", "200", "4.000", "0.0800", "2.13", "1.66", "0.31", "134 of 200", "holds"):
        assert expected in section
    assert "1.04" in section
    assert "(from 1.58)" in section
    assert "in at most 1% of audits; each is made at a level of 2.0e-04" in section
    assert "its privacy budget is spent" in section
    assert "4 to 6" in section
    assert "hospital3 gave no statement: no reply within 60 s" in section
    assert all(sentence in section for sentence in NOT_COVERED)


def test_the_first_page_says_what_a_private_study_cost(results: Results, write_study: Write) -> None:
    private = private_results(results)
    private.arms = {scope: scores if scope == "federated" else {} for scope, scores in private.arms.items()}
    page = build_study_report(write_study(private)).read_text()
    first = Cells(page[: page.index('<h3 id="arms">')]).text
    assert "an epsilon of at most 3.17 (hospital1) at delta 1e-05" in first
    assert "are not private, so their figures stayed at the sites" in first
    assert "learnt from public slices" not in first
    assert "at hospital1 alone" not in page  # no empty columns and tables of what stayed there


def test_a_bound_above_its_claim_is_called_a_fault(results: Results, write_study: Write) -> None:
    private = private_results(results)
    assert private.privacy is not None
    private.privacy.audit[0] = private.privacy.audit[0].model_copy(update={"bound": 4.4})
    assert "more leaks than is claimed" in privacy_section(build_study_report(write_study(private)).read_text())


def test_another_mechanism_than_the_stated_one_is_called_a_fault(results: Results, write_study: Write) -> None:
    private = private_results(results)
    assert private.privacy is not None
    found = MechanismTests(draws=1200, sensitivity=2.04, noise=0.5, p={"sensitivity": 1e-9, "noise": 0.0})
    private.privacy.audit[0] = private.privacy.audit[0].model_copy(update={"stated": found})
    section = privacy_section(build_study_report(write_study(private)).read_text())
    assert "a patient adds 2.04 of the stated bound; noise has 0.50 of the stated size: do not use" in section


def test_an_audit_of_before_is_shown_as_what_it_was(results: Results, write_study: Write) -> None:
    private = private_results(results)
    assert private.privacy is not None
    kept = private.privacy.audit[0].model_dump(exclude={"false_alarm", "level", "stated"})
    private.privacy.audit[0] = AuditBound.model_validate(kept)
    section = privacy_section(build_study_report(write_study(private)).read_text())
    assert "134 of 200" in section
    assert "holds" in section
    assert "the mechanism was not tested" in section


def test_a_study_without_privacy_says_that_nothing_bounds_what_it_reveals(results: Results, write_study: Write) -> None:
    section = privacy_section(build_study_report(write_study(results)).read_text())
    assert "trained without differential privacy: nothing bounds" in section
