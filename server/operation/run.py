"""``oncofed-server run`` and ``follow``: a study between institutions, from its start to its report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.config import compose
from common.errors import ConfigError, StudyError
from common.experiment import Experiment
from common.experiment_paths import with_absolute_paths
from common.outside import say
from common.progress import StudyProgress
from common.weights import needed_weights, resolve_weights
from server.operation.flower_home import FlowerHome
from server.operation.studies import find_study, keep_study, started_studies, study_meant
from server.operation.submit import enrolled_sites, require_server, submit
from server.progress_log import Event, ProgressReader, show
from server.provision.federation import load_federation
from server.provision.provision import Places
from server.provision.registry import utc_now
from server.reference import PARTS
from server.report.build import build_study_report
from server.run_folder import RunFolder
from server.run_lock import is_running
from server.terminal_progress import terminal_progress

BEGINS_WITHIN = 180.0
"""Seconds from the hand-over to the study's first sign of life."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line says beside the study.

    Attributes:
        sites: that are to take part; all that have joined if none is named.
        resume: folder of a study that stopped.
        detach: return as soon as the study is handed over.
        beside: start it although another one runs.
    """

    sites: tuple[str, ...] = ()
    resume: Path | None = None
    detach: bool = False
    beside: bool = False


def run_command(file: Path, places: Places, overrides: list[str], options: RunOptions) -> None:
    """Starts a study, or goes on with one, and follows it to its report.

    Raises:
        ConfigError: if it cannot start; nothing is left behind then.
        StudyError: if it stops; it can be resumed.
    """
    home = FlowerHome(places, load_federation(file).serve.superlink)
    require_server(home, file)
    resumed = options.resume.expanduser().resolve() if options.resume is not None else None
    busy = [one.folder for one in started_studies(places) if is_running(one.folder) and one.folder != resumed]
    if busy and not options.beside:
        raise ConfigError(
            f"{busy[-1]}: this study runs already, and both would share the sites' machines; wait, stop it, or say "
            "--beside"
        )
    if options.resume is not None:
        folder, expected = _resumed(places, options, overrides)
    else:
        expected = enrolled_sites(places, options.sites)
        organs = {site: record.organ for site, record in places.registry.read().sites.items() if site in expected}
        folder = RunFolder.new(checked(compose(["site=none", *overrides]), organs))
    with folder.withdrawn_on_error():
        reader = ProgressReader(folder.path)
        reader.skip()
        number = submit(home, folder.path, expected)
        keep_study(places, folder.path, expected, number, utc_now())
    say(f"{folder.path.name}: {', '.join(expected)}; {folder.path}")
    say(f"if it stops: oncofed-server run {file} --resume {folder.path}")
    if options.detach:
        say(f"see it: oncofed-server follow {file} --run {folder.path}")
        return
    _follow(folder.path, reader, file)


def follow_command(file: Path, places: Places, folder: Path | None) -> None:
    """Shows a study from its beginning until it ends."""
    study = study_meant(places, folder)
    _follow(study.folder, ProgressReader(study.folder), file)


def checked(experiment: Experiment, sites: Mapping[str, str]) -> Experiment:
    """The experiment with absolute paths and the organs of its sites, after what this side can check of it.

    Args:
        sites: organ by site.

    Raises:
        ConfigError: naming the key.
    """
    made = with_absolute_paths(experiment)
    made.organs = {organ: config for organ, config in made.organs.items() if organ in sites.values()}
    made.reference = {organ: one for organ, one in made.reference.items() if organ in made.organs}
    if not made.organs:
        raise ConfigError(
            f"organ: the study is about none of {', '.join(sorted(set(sites.values())))}, which sites have"
        )
    if made.strategy.quorum > len(sites):
        raise ConfigError(
            f"strategy.quorum={made.strategy.quorum}: only {len(sites)} sites are to take part ({', '.join(sites)}); "
            "lower it, or invite more"
        )
    lacking = [organ for organ in made.organs if organ not in made.reference or not made.reference[organ].path]
    if lacking:
        raise ConfigError(
            f"reference.{lacking[0]}.path must name the coordinator's reference set of the {lacking[0]}: a folder with "
            f"{', '.join(PARTS)}"
        )
    for organ in made.organs:
        folder = Path(str(made.reference[organ].path))
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if missing:
            raise ConfigError(
                f"reference.{organ}.path={folder}: has no folder {missing[0]}; a reference set has {', '.join(PARTS)}"
            )
    resolve_weights(made.weights, needed_weights(made))
    return made


def _resumed(places: Places, options: RunOptions, overrides: list[str]) -> tuple[RunFolder, tuple[str, ...]]:
    assert options.resume is not None
    folder = RunFolder.resume(options.resume, overrides)
    study = find_study(places, folder.path)
    if study is None:
        raise ConfigError(f"--resume {options.resume}: was not started with oncofed-server run on this federation")
    if is_running(folder.path):
        raise ConfigError(f"{folder.path}: this study runs; see it with oncofed-server follow, or stop it first")
    joined = enrolled_sites(places, ())
    expected = enrolled_sites(places, options.sites) if options.sites else study.expected
    # A site that was revoked since cannot come; the study goes on without it, and says so.
    return folder, tuple(site for site in expected if site in joined)


def _follow(folder: Path, reader: ProgressReader, file: Path) -> None:
    progress = terminal_progress()
    try:
        end = _until_the_end(folder, reader, progress)
    except KeyboardInterrupt:
        progress.close()
        say(f"the study goes on; see it with oncofed-server follow {file} --run {folder}")
        raise
    finally:
        progress.close()
    if end is None:
        raise StudyError(
            f"{folder.name}: stopped without a word, killed perhaps; go on with oncofed-server run {file} --resume "
            f"{folder}"
        )
    if end.name == "failed":
        raise StudyError(f"{folder.name}: {end.values.get('reason')}")
    say(f"report: {build_study_report(folder)}")


def _until_the_end(folder: Path, reader: ProgressReader, progress: StudyProgress) -> Event | None:
    """Shows what happens; returns how it ended, or None if its process is gone without having said so."""
    handed_over, began, silent_since = time.monotonic(), False, None
    last: Event | None = None
    while True:
        for event in reader.new():
            show(event, progress)
            began = began or event.name == "began"
            # A study that was resumed has earlier ends.
            last = event if event.name in ("finished", "failed") else None if event.name == "began" else last
        if last is not None and not is_running(folder):
            return last
        if is_running(folder):
            silent_since = None
        elif began:
            silent_since = silent_since or time.monotonic()
            # The process holds its lock from shortly after its first word to shortly before its last.
            if time.monotonic() - silent_since > 5:
                return last
        elif time.monotonic() - handed_over > BEGINS_WITHIN:
            raise StudyError(
                f"{folder}: the study has not begun after {BEGINS_WITHIN:.0f} s: another one may run before it, or the "
                "server's superlink.log says why"
            )
        time.sleep(0.5)
