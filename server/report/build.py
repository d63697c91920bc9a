"""The study report: one page from what the ServerApp wrote. It holds reference images and aggregates, no patient."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from common.files import write_bytes
from common.report.arms import arm_title, arms_charts, arms_table, confusion_tables, in_order
from common.report.figures import figure_cell
from common.report.formatting import declared, duration, moment, role_titles
from common.report.images import file_data_uri
from common.report.page import Pair, ReportError, Section, as_yaml, render_page
from common.report.tables import Table, number, word
from common.results import Results
from common.results_classifier import CENTRALISED, EXTERNAL, FEDERATED
from server.report.answer import answer, plain_baselines, question
from server.report.comparisons import compared_scopes, lead, not_compared
from server.report.contributors import apart_lines, contributors_table, plan_table
from server.report.curves import learning_curves, ratio_curves
from server.report.explanations import explanations_json, reference_explanations
from server.report.further import further
from server.report.gains import gain_charts, gain_table
from server.report.gallery import reference_gallery
from server.report.generators import gan_part
from server.report.limits import limits, meanings
from server.report.looks import attention_charts, attention_table, shortcut_table
from server.report.matrices import matrix_groups
from server.report.overview import generators_json, overview_table, stability
from server.report.participation import silent_sites
from server.report.privacy import pretraining_table, privacy_part
from server.report.repeated import classifier_tables, images_table
from server.report.scopes import arms_scopes, heading, titled
from server.report.spreadsheets import SPREADSHEETS, write_spreadsheets
from server.tracking import write_tracking

SECTIONS = (
    Section("tables", "Generators and classifiers over runs"),
    Section("statistics", "Statistics: arm against arm"),
    Section("gains", "Gains over real images only"),
    Section("curves", "Fewer patients, more synthetic slices"),
    Section("cross-site", "Cross-site evaluation"),
    Section("looks", "What the classifiers look at"),
    Section("explanations", "How the classifier sees synthetic slices"),
    Section("arms", "The arms on the fixed split"),
    Section("sites", "Sites"),
    Section("generators", "Generators round by round"),
    Section("privacy", "Privacy"),
    Section("limits", "Limits"),
    Section("meaning", "What the figures are"),
    Section("timings", "Timings"),
    Section("provenance", "Configuration and versions"),
)


@dataclass(frozen=True)
class Link:
    """A page beside this one."""

    href: str
    title: str


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
    page = render_page(
        "server.report",
        "study.html",
        SECTIONS,
        results=results,
        started=moment(results.run.started),
        finished=moment(results.run.finished or ""),
        question=question(results),
        answer=answer(results),
        further=further(results),
        figure_files=("generators.json", "explanations.json", *SPREADSHEETS),
        classifiers=classifier_tables(results),
        of_images=images_table(results),
        compared=compared_scopes(results),
        lead=lead(results),
        not_compared=[*not_compared(results), *apart_lines(results)],
        apart=apart_lines(results, first=True),
        gain_charts=gain_charts(results),
        gains=gain_table(results),
        curves=learning_curves(results),
        ratios=ratio_curves(results),
        attention=attention_table(results),
        attention_charts=attention_charts(results),
        shortcut=shortcut_table(results),
        summary=_summary(results),
        sites=_sites_table(results),
        plan=plan_table(results),
        contributors=contributors_table(results),
        silent=silent_sites(results),
        site_reports=_site_reports(run_dir, results),
        gans=[gan_part(name, gan, results.sites, galleries[name]) for name, gan in results.gans.items()],
        overview=overview_table(results.gans),
        stability=[Pair(name, stability(gan)) for name, gan in results.gans.items()],
        cohort_sheet=file_data_uri(sheet) if results.run.demo_cohort and sheet.exists() else None,
        arms_charts=arms_charts({titled(results, scope): scores for scope, scores in arms_scopes(results).items()}),
        arms_tables=[
            {
                "title": heading(titled(results, scope)),
                "table": arms_table(_arms_caption(scope), scores),
                "confusions": confusion_tables(scores),
            }
            for scope, scores in arms_scopes(results).items()
        ],
        plain=plain_baselines(results),
        matrices=matrix_groups(results),
        explained=explained,
        privacy=privacy_part(results),
        pretraining=pretraining_table(results.gans),
        limits=limits(results),
        meanings=meanings(results),
        timings=_timings(results),
        config=as_yaml(results.run.config) if results.run.config else "",
        versions=[Pair(name, version) for name, version in sorted(results.run.versions.items())],
    )
    report = run_dir / "report"
    write_bytes(report / "results.json", source.read_bytes())
    write_bytes(report / "generators.json", json.dumps(generators_json(results.gans), indent=2).encode())
    write_bytes(report / "explanations.json", explanations_json(explained))
    write_spreadsheets(results, report)
    write_bytes(report / "index.html", page.encode())
    write_tracking(run_dir)
    return report / "index.html"


def read_results(path: Path) -> Results:
    """The study's results.

    Raises:
        ReportError: naming the file and what is wrong with it.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
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


def _arms_caption(scope: str) -> str:
    organ = scope.removeprefix(FEDERATED).removeprefix("/")
    subject = (
        f"Classifiers trained in federation over all organs, scored on the test patients of the sites with {organ} "
        "images that trained them, mean over sites"
        if organ and scope.startswith(FEDERATED)
        else "Classifiers trained in federation, scored on the test patients of the sites that trained them, mean over "
        "sites"
        if scope == FEDERATED
        else "Classifiers trained on the slices of all sites in one place, as only a simulation can, scored on the "
        "test patients of these sites, mean over sites"
        if scope == CENTRALISED
        else "Classifiers trained in federation, scored on the patients of external centres, mean over centres"
        if scope == EXTERNAL
        else f"Classifiers trained at {scope} alone, scored on its test patients"
    )
    return (
        f"{subject}. With 95% interval, bootstrapped over patients; slices at probability 0.5; steps of the optimiser."
    )


def _summary(results: Results) -> Table | None:
    """The first page's table: each arm in federation, and its place at every site."""
    scopes = arms_scopes(results)
    if not scopes:
        return None
    arms = dict.fromkeys(arm for scores in scopes.values() for arm, _ in in_order(scores))
    rows = [
        [
            word(arm_title(arm)),
            *(figure_cell(scores[arm].get("accuracy") if arm in scores else None) for scores in scopes.values()),
        ]
        for arm in arms
    ]
    return Table(
        "Accuracy on the test patients of the fixed split, by the images and by where the classifier was trained: mean "
        "with 95% interval over patients.",
        ["arm", *(titled(results, scope) for scope in scopes)],
        rows,
    )


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
