"""The study report: one page from what the ServerApp wrote. It holds reference images and aggregates, no patient."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from common.figures.formatting import declared, duration, moment, role_titles
from common.report.images import file_data_uri
from common.report.page import Pair, ReportError, as_yaml, render_page
from common.report.tables import Table, number, word
from common.results.study import SCHEMA, Results
from common.system.files import write_bytes
from server.report.answer import answer, plain_baselines, question
from server.report.classifiers import arms_parts, summary
from server.report.comparisons import compared_scopes, lead, not_compared
from server.report.contents import contents
from server.report.contributors import apart_lines, contributors_table, plan_table
from server.report.curves import learning_curves, ratio_curves
from server.report.explanations import explanations_json, reference_explanations
from server.report.forest import forest, left_out
from server.report.further import further
from server.report.gains import gain_charts, gain_table
from server.report.gallery import reference_gallery
from server.report.generators import gan_part
from server.report.limits import limits, meanings
from server.report.looks import attention_charts, attention_table, shortcut_table
from server.report.matrices import matrix_groups
from server.report.not_measured import not_measured
from server.report.overview import generators_json, overview_table, stability
from server.report.participation import silent_sites
from server.report.privacy import pretraining_table, privacy_part
from server.report.repeated import classifier_tables, images_table
from server.report.spreadsheets import SPREADSHEETS, write_spreadsheets
from server.report.strip import rule_in_words, strip
from server.report.verdicts import verdicts
from server.tracking import write_tracking


@dataclass(frozen=True)
class Link:
    """A page beside this one."""

    href: str
    title: str


_EARLIER = re.compile(rb"oncofed-results/\d+")


def build_study_report(run_dir: Path) -> Path:
    """Writes ``run_dir/report/`` from ``run_dir/results.json`` and the reference gallery.

    The folder then holds ``index.html``, ``results.json`` (the same figures), ``generators.json`` (means and standard
    deviations over trainings), ``explanations.json`` (how the federated classifier sees the reference set) and the CSV
    files of :data:`~server.report.spreadsheets.SPREADSHEETS`. Site reports that exist under ``run_dir/sites`` are
    linked, so build them first. The curves of the run's rounds are written beside it, see :mod:`server.tracking`.

    Returns:
        The path of ``index.html``.

    Raises:
        ReportError: if ``results.json`` is missing or not a study's results, or the gallery cannot be read.
        DamagedFileError: if the record of a round is damaged; the page is there, event files are those of before.
    """
    source = run_dir / "results.json"
    results = read_results(source)
    galleries = {
        name: [
            gallery
            for path in sorted((run_dir / "reference" / name).glob("*.npz"))
            if (gallery := reference_gallery(path)) is not None
        ]
        for name in results.gans
    }
    explained = reference_explanations(run_dir / "reference" / "explanations")
    sheet = run_dir / "cohort_sheet.png"
    site_reports = _site_reports(run_dir, results)
    parts: dict[str, Any] = {
        "answer": answer(results),
        "apart": apart_lines(results, first=True),
        "arms_parts": arms_parts(results),
        "attention": attention_table(results),
        "attention_charts": attention_charts(results),
        "classifiers": classifier_tables(results),
        "cohort_sheet": file_data_uri(sheet) if results.run.demo_cohort and sheet.exists() else None,
        "compared": compared_scopes(results),
        "config": as_yaml(results.run.config) if results.run.config else "",
        "contributors": contributors_table(results),
        "curves": learning_curves(results),
        "explained": explained,
        "figure_files": ("results.json", "generators.json", "explanations.json", *SPREADSHEETS),
        "forest": forest(results),
        "forest_left_out": left_out(results),
        "further": further(results),
        "gain_charts": gain_charts(results),
        "gains": gain_table(results),
        "gans": [gan_part(name, gan, results.sites, galleries[name]) for name, gan in results.gans.items()],
        "lead": lead(results),
        "limits": limits(results),
        "matrices": matrix_groups(results),
        "meanings": meanings(results),
        "not_compared": [*not_compared(results), *apart_lines(results)],
        "not_measured": not_measured(results, pictures=any(galleries.values()), explained=bool(explained)),
        "of_images": images_table(results),
        "overview": overview_table(results.gans),
        "plain": plain_baselines(results),
        "plan": plan_table(results),
        "pretraining": pretraining_table(results.gans),
        "privacy": privacy_part(results),
        "question": question(results),
        "ratios": ratio_curves(results),
        "rule": rule_in_words(galleries),
        "shortcut": shortcut_table(results),
        "silent": silent_sites(results),
        "site_reports": site_reports,
        "sites": _sites_table(results),
        "stability": [Pair(name, stability(gan)) for name, gan in results.gans.items()],
        "strip": strip(galleries),
        "summary": summary(results),
        "timings": _timings(results),
        "verdicts": verdicts(results),
        "versions": [Pair(name, version) for name, version in sorted(results.run.versions.items())],
    }
    tabs = contents(_present(parts))
    page = render_page(
        "server.report",
        "study.html",
        [section for tab in tabs for section in tab.sections],
        script="study.js",
        results=results,
        started=moment(results.run.started),
        finished=moment(results.run.finished or ""),
        tabs=tabs,
        **parts,
    )
    report = run_dir / "report"
    write_bytes(report / "results.json", source.read_bytes())
    write_bytes(report / "generators.json", json.dumps(generators_json(results.gans), indent=2).encode())
    write_bytes(report / "explanations.json", explanations_json(explained))
    write_spreadsheets(results, report)
    write_bytes(report / "index.html", page.encode())
    write_tracking(run_dir)
    return report / "index.html"


def _present(parts: Mapping[str, Any]) -> dict[str, object]:
    """What each section that may be empty would show, by its anchor."""
    return {
        "pictures": any(subject.galleries for gan in parts["gans"] for subject in gan.subjects),
        "generators": parts["gans"],
        "explanations": parts["explained"],
        "tables": parts["classifiers"] or parts["of_images"],
        "statistics": parts["compared"] or parts["not_compared"],
        "gains": parts["gains"],
        "curves": parts["curves"] or parts["ratios"],
        "arms": parts["arms_parts"],
        "looks": parts["attention"] or parts["shortcut"],
        "taking-part": parts["sites"].rows or parts["silent"],
        "cross-site": parts["matrices"],
        "site-reports": parts["site_reports"],
        "stability": parts["gans"],
        "training": parts["gans"],
        "not-measured": parts["not_measured"],
        "timings": parts["timings"],
    }


def read_results(path: Path) -> Results:
    """The study's results.

    Raises:
        ReportError: naming the file and what is wrong with it.
    """
    try:
        content = path.read_bytes()
        if (written := _EARLIER.search(content[:200])) is not None and written.group(0).decode() != SCHEMA:
            raise ReportError(
                f"{path}: written by another release ({written.group(0).decode()}, this one reads {SCHEMA}); make its "
                "report with the release that ran the study"
            )
        return Results.model_validate_json(content)
    except FileNotFoundError as error:
        raise ReportError(
            f"{path}: no results there; give the folder of a study that has run, e.g. runs/latest"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReportError(
            f"{path}: {where}: {first['msg']}; the file is not a study's results or was written by another version"
        ) from error


def _sites_table(results: Results) -> Table:
    rows = [
        [
            word(name),
            word(site.organ),
            word(" ".join((site.modality, *site.contrasts))),
            word(role_titles(site.roles) or "not declared"),
            number(declared(site.patients)),
            number(declared(site.slices)),
            number(declared(site.quarantined)),
        ]
        for name, site in results.sites.items()
    ]
    columns = ["site", "organ", "images", "takes part in", "patients", "slices", "quarantined"]
    return Table(
        "What each site said of itself. Quarantined: studies left out because they could not be used; the reasons stay "
        "at the site.",
        columns,
        rows,
    )


def _site_reports(run_dir: Path, results: Results) -> list[Link]:
    names = [name for name in results.sites if Path(name).name == name and name not in (".", "..")]
    return [
        Link(f"../sites/{quote(name)}/report/index.html", name)
        for name in names
        if (run_dir / "sites" / name / "report" / "index.html").exists()
    ]


def _timings(results: Results) -> Table | None:
    if not results.timings:
        return None
    rows = [[word(phase.replace("_", " ")), number(duration(seconds))] for phase, seconds in results.timings.items()]
    return Table("Wall-clock time by phase.", ["phase", "time"], rows)
