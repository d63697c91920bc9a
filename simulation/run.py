"""A simulated study from the command line to the reports."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from client.app import make_app as make_client_app
from client.app import site_from_node_config
from client.report.build import build_site_report
from common.results.study import Results
from common.study.config import compose
from common.study.experiment import Experiment
from common.study.experiment_paths import require_usable_paths, with_absolute_paths
from common.study.progress import StudyProgress
from common.system.logs import quiet_libraries
from common.system.outside import say
from server.app import run_study
from server.dashboard.service import serving
from server.progress_log import ShownAndRecorded, recorded
from server.report.build import build_study_report
from server.report.protocols import in_short
from server.run_folder import RunFolder, require_run_name
from server.settings import StudySettings
from server.terminal_progress import terminal_progress
from simulation.audit import audit_run
from simulation.centralised import centralised_arms
from simulation.grid import InProcessGrid
from simulation.one_disk import OneDisk
from simulation.overrides import RunOverrides
from simulation.places import without_unavailable_demo
from simulation.ray import run_on_ray
from simulation.site_checks import check_sites
from simulation.sites import prepare_everything


def run(overrides: list[str]) -> Path:
    """Runs or resumes a study and writes its reports; returns the run's folder.

    Raises:
        OncofedError: with the cause and the way out; a study that could not start leaves nothing behind.
    """
    given = RunOverrides.parse(overrides)
    if given.resume is not None:
        return resumed(given.resume, given.study, dashboard=given.dashboard)
    return begun(checked(given.study), dashboard=given.dashboard)


def checked(overrides: Sequence[str]) -> Experiment:
    """The study that ``overrides`` describe, with absolute paths, if it can run here.

    Raises:
        ConfigError, DataError: naming the key or the site.
    """
    experiment = with_absolute_paths(compose(list(overrides)))
    require_run_name(experiment.name)
    check_sites(experiment)
    return experiment


def begun(experiment: Experiment, *, dashboard: bool = False) -> Path:
    """:func:`run` of a study that :func:`checked` let pass, in a new folder."""
    return _carried_out(lambda progress: RunFolder.new(without_unavailable_demo(experiment, progress)), dashboard)


def resumed(path: Path, overrides: list[str], *, dashboard: bool = False) -> Path:
    """:func:`run` of a study that was stopped."""
    folder = RunFolder.resume(path, overrides)
    require_usable_paths(folder.experiment)
    return _carried_out(lambda _: folder, dashboard)


def _carried_out(place: Callable[[StudyProgress], RunFolder], dashboard: bool) -> Path:
    quiet_libraries()
    progress = terminal_progress()
    with ExitStack() as page:
        try:
            folder = place(progress)
            if dashboard:
                progress.message(f"dashboard: {page.enter_context(serving(folder.path))}")
            with folder.withdrawn_on_error():
                settings, site_files = prepare_everything(folder, progress)
            again = f"oncofed-simulation run resume={folder.path}"
            progress.message(f"{folder.path}: if this run stops, go on with {again}")
            # What was told until now counts patients that no site has declared yet; it stays on the terminal.
            with recorded(folder.path) as log:
                execute(replace(settings, progress=ShownAndRecorded(progress, log)), site_files)
            if settings.experiment.study.centralised:
                centralised_arms(settings.experiment, folder.path, site_files, progress.message)
            audit_run(folder.path, progress.message)
        finally:
            progress.close()
        return _reported(folder.path)


def _reported(run_dir: Path) -> Path:
    """The same folder, with the reports of a study that has ended."""
    results = Results.model_validate_json((run_dir / "results.json").read_bytes())
    for site in results.sites:
        build_site_report(run_dir / "sites" / site)
    report = build_study_report(run_dir)
    say(*_closing(results, report))
    return run_dir


def execute(settings: StudySettings, site_files: list[Path]) -> None:
    """Runs the ServerApp and the sites' ClientApp on the engine that the configuration names."""
    simulation = settings.experiment.simulation
    if simulation.engine == "ray":
        run_on_ray(settings, site_files)
    else:
        grid = InProcessGrid(make_client_app(site_from_node_config), site_files)
        run_study(OneDisk(grid, settings.run_dir), settings)


_NO_INTERVAL = " (no interval: a site has one test patient, or fewer than study.min_cell)"


def _closing(results: Results, report: Path) -> list[str]:
    """The last lines on the terminal: the answer in short, and where to read it."""
    lines = []
    for where, scores in (results.organ_arms or {"": results.arms.get("federated", {})}).items():
        for arm, one in scores.items():
            accuracy = one.get("accuracy")
            if accuracy is not None and accuracy.value is not None:
                interval = f" ({accuracy.low:.3f} to {accuracy.high:.3f})" if accuracy.low is not None else _NO_INTERVAL
                lines.append(f"  federated, {where:<6}{arm:<15} accuracy {accuracy.value:.3f}{interval}")
    for name, gan in results.gans.items():
        for subject, final in gan.final.items():
            lines.append(
                f"  {name}, {subject}, round {gan.chosen_round}: {in_short(final)} (n={final.slices} "
                f"slices of {final.patients} patients)"
            )
    if results.run.demo_cohort:
        lines.append("  the demo cohort deforms one anatomy an organ: similarity figures on it are optimistic")
    return [*lines, f"report: {report}"]
