"""``oncofed-server run``: a study between institutions, from its plan to its report."""

import sys
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.study.config import read_experiment, to_yaml
from common.study.experiment import Experiment
from common.system.files import write_bytes
from common.system.outside import say
from server.operation.flower_home import FlowerHome
from server.operation.follow import follow
from server.operation.plan import StudyPlan, make_plan, plan_lines, planned_sites, short_lines
from server.operation.studies import find_study, keep_study, started_studies
from server.operation.study_checks import checked, composed
from server.operation.study_files import patience_of
from server.operation.submit import enrolled_sites, require_server, submit
from server.progress_log import ProgressReader
from server.provision.federation import FederationSettings, load_federation
from server.provision.provision import Places
from server.provision.registry import utc_now
from server.run_folder import RunFolder
from server.run_lock import is_running
from server.shut_out import shut_out


@dataclass(frozen=True)
class RunOptions:
    """What the command line says beside the study.

    Attributes:
        sites: that are to take part; all that have joined if none is named.
        resume: folder of a study that stopped.
        detach: return as soon as the study is handed over.
        beside: start it although another one runs.
        plan: tell what would come, and start nothing.
        to: where the plan's configuration is written.
        yes: start it whatever the plan warns of.
    """

    sites: tuple[str, ...] = ()
    resume: Path | None = None
    detach: bool = False
    beside: bool = False
    plan: bool = False
    to: Path | None = None
    yes: bool = False

    def __post_init__(self) -> None:
        """Refuses options that would have no effect together.

        Raises:
            ConfigError: naming them.
        """
        given = {"--resume": self.resume, "--detach": self.detach, "--beside": self.beside, "--yes": self.yes}
        idle = [name for name, value in given.items() if value] if self.plan else []
        if self.resume is not None and self.yes:
            idle = ["--resume", "--yes"]
        if self.to is not None and not self.plan:
            idle = ["--to", "a run without --plan"]
        if idle:
            other = "--plan" if self.plan else idle.pop()
            raise ConfigError(f"{', '.join(idle)}: has no effect with {other}; leave it out")


def run_command(file: Path, places: Places, overrides: list[str], options: RunOptions) -> None:
    """Starts a study, or goes on with one, and follows it to its report.

    Raises:
        ConfigError: if it cannot start; nothing is left behind then.
        StudyError: if it stops; it can be resumed.
    """
    settings = load_federation(file)
    if options.plan:
        _show_plan(settings, places, overrides, options)
        return
    home = FlowerHome(places, settings.serve.superlink)
    require_server(home, file)
    resumed = options.resume.expanduser().resolve() if options.resume is not None else None
    busy = [one.folder for one in started_studies(places) if is_running(one.folder) and one.folder != resumed]
    if busy and not options.beside:
        raise ConfigError(
            f"{busy[-1]}: this study runs already, and both would share the sites' machines; wait, stop it, or say "
            "--beside"
        )
    if options.resume is not None:
        folder, meant, expected = _resumed(places, options, overrides)
    else:
        meant = expected = enrolled_sites(places, options.sites)
        plan = _plan(settings, places, overrides, expected)
        say(*short_lines(plan))
        _require_yes(plan, options)
        folder = RunFolder.new(plan.experiment)
    with folder.withdrawn_on_error():
        reader = ProgressReader(folder.path)
        reader.skip()
        number = submit(home, folder.path, expected)
        keep_study(places, folder.path, meant, number, utc_now())
    say(f"{folder.path.name}: {', '.join(expected)}; {folder.path}")
    say(f"if it stops: oncofed-server run {file} --resume {folder.path}")
    if options.detach:
        say(f"see it: oncofed-server follow {file} --run {folder.path}")
        return
    follow(folder.path, reader, file, home)


def _plan(settings: FederationSettings, places: Places, overrides: list[str], names: tuple[str, ...]) -> StudyPlan:
    sites = planned_sites(settings, places, names)
    organs = {site.name: site.organ for site in sites}
    return make_plan(checked(composed(overrides), organs, settings.reference, overrides), sites, places)


def _show_plan(settings: FederationSettings, places: Places, overrides: list[str], options: RunOptions) -> None:
    """Prints the plan of a study, and writes its configuration as hospitals can be given it."""
    named = {site.name for site in settings.sites}
    unknown = [site for site in options.sites if site not in named]
    if unknown:
        raise ConfigError(f"--sites {unknown[0]}: not in federation.yaml; it names {', '.join(sorted(named))}")
    names = tuple(sorted(set(options.sites) or named))
    revoked = {site.name for site in planned_sites(settings, places, names) if site.state == "revoked"}
    plan = _plan(settings, places, overrides, tuple(name for name in names if options.sites or name not in revoked))
    say(*plan_lines(plan))
    to = options.to or Path(f"{plan.experiment.name}.config.yaml")
    _write_configuration(plan.experiment, to)
    say(f"configuration: {to}; for hospitals: oncofed-client doctor site.yaml --study {to.name}")


def _write_configuration(experiment: Experiment, to: Path) -> None:
    """Without the paths of this machine; over an earlier one, and over nothing else."""
    if to.exists():
        try:
            read_experiment(to)
        except ConfigError as error:
            raise ConfigError(
                f"{to}: is no study's configuration, and is left alone; name another with --to"
            ) from error
    try:
        write_bytes(to, to_yaml(experiment, leaving=True).encode())
    except OSError as error:
        raise ConfigError(f"{to}: cannot be written ({error.strerror}); name another with --to") from error


def _require_yes(plan: StudyPlan, options: RunOptions) -> None:
    """Asks whether a study is to start although not all of it will be measured.

    Raises:
        ConfigError: if the answer is not yes, or nobody can answer.
    """
    if not plan.warnings or options.yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("the plan has warnings, and nobody is at a terminal to say yes; change it, or say --yes")
    try:
        answer = input("start it all the same? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigError("not started; change the study, or say yes")


def _resumed(
    places: Places, options: RunOptions, overrides: list[str]
) -> tuple[RunFolder, tuple[str, ...], tuple[str, ...]]:
    """The run, the sites that are to take part in it, and those of them that can now.

    Raises:
        ConfigError: if it cannot go on, saying what helps.
    """
    assert options.resume is not None
    folder = RunFolder.resume(options.resume, overrides)
    study = find_study(places, folder.path)
    if study is None:
        raise ConfigError(f"--resume {options.resume}: was not started with oncofed-server run on this federation")
    if is_running(folder.path):
        raise ConfigError(f"{folder.path}: this study runs; see it with oncofed-server follow, or stop it first")
    joined = enrolled_sites(places, ())
    expected = enrolled_sites(places, options.sites) if options.sites else study.expected
    records = places.registry.read().sites
    for site in (site for site in expected if site not in joined):
        reason = (shut_out(records[site]) if site in records else "") or "it has not joined"
        say(f"{site}: {reason}; the study goes on without it")
    able = tuple(site for site in expected if site in joined)
    quorum = patience_of(folder.path).quorum
    if len(able) < quorum:
        missing = next(site for site in expected if site not in joined)
        raise ConfigError(
            f"{folder.path}: {len(able)} of the {quorum} sites that strategy.quorum asks for can take part "
            f"({', '.join(able) or 'none'}); bring one back, e.g. oncofed-server provision --renew {missing} "
            "and, there, oncofed-client init with --new-key, or name others that have joined with --sites"
        )
    return folder, expected, able
