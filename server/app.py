"""The Flower ServerApp: the phases of a study, to be read from top to bottom.

Every phase keeps its result under ``checkpoints/`` and is skipped when it is already there, so that a run that was
killed goes on from its last finished round.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from torch import Tensor

from common.results.classifier import FEDERATED
from common.results.study import PlannedTraining, Results, RunInfo, SiteEntry
from common.study.config import to_yaml
from common.study.experiment import Experiment
from common.study.models import Model, model_of
from common.study.phases import classifier_phase, gan_phase
from common.study.trials import Trial
from common.system.files import read_json, write_bytes, write_json
from common.system.logs import open_json_log
from common.system.outside import printable, quoted
from common.system.safe_yaml import read_yaml
from common.training.build import labelling_model, proxy_source
from server.arms import trained_arms
from server.begun_configuration import require_configuration_as_begun
from server.begun_weights import require_weights_as_begun
from server.cross_site import ARM, cross_site
from server.deployed import deployed
from server.evidence import comparisons, pooled_gains, repeated
from server.explanations import explain_reference_sets
from server.gan import plan_gans, runs_of, train_gan
from server.made_with import made_with
from server.plan import planned_trainings, told
from server.pretraining import pretraining_phase
from server.privacy import kept_witnesses, privacy_results
from server.proxies import proxy_phase
from server.roster import Roster, call_roll
from server.run_lock import alone_in
from server.same_sites import arms_apart
from server.settings import StudySettings, keep_places
from server.shared_patients import require_own_patients
from server.silences import note_silences, silences
from server.trials import TrialRunner, further_phases

log = logging.getLogger("oncofed.server")


def run_study(grid: Grid, settings: StudySettings) -> Results:
    """The whole study; returns (and keeps writing) ``results.json``.

    Raises:
        StudyError: if it cannot go on; what was finished is on disk and a resumed run continues there. Also if another
            process works on this run.
    """
    with alone_in(settings.run_dir):
        return _study(grid, settings)


def _study(grid: Grid, settings: StudySettings) -> Results:
    experiment, progress = settings.experiment, settings.progress
    results = _begin(settings)
    progress.plan(planned_phases(experiment))
    with open_json_log(settings.run_dir / "log.jsonl", "oncofed.server"):
        try:
            with _timed(settings, results, "hello"):
                roster = call_roll(
                    grid,
                    run=settings.name,
                    experiment=settings.told,
                    sites=settings.sites,
                    expected=settings.expected,
                    witnesses=kept_witnesses(settings),
                    config=experiment.strategy,
                    progress=progress,
                )
                results.sites = _entries(roster)
                results.plan = planned_trainings(experiment, roster, labelling_model(experiment))
                note_silences(settings.run_dir, "hello", roster.refused)
            _announce(settings, roster, results.plan)
            require_own_patients(roster, progress)

            chosen = labelling_model(experiment)
            plans = plan_gans(settings, roster)
            runs: dict[str, list[dict[str, Tensor]]] = {}
            for plan in plans:
                with _timed(settings, results, f"gan {plan.model.name}"):
                    trained = train_gan(grid, settings, plan, {name: of[0] for name, of in runs.items()})
                    results.gans[plan.model.name] = trained.result
                    runs[plan.model.name] = trained.runs

            first, runner = Trial(), TrialRunner(grid, settings, roster, plans, runs)
            with _timed(settings, results, "synthesis"):
                runner.synthesise(first)

            with _timed(settings, results, "local_arms"):
                local = runner.local(first)
                results.arms = {site: dict(told.arms) for site, told in local.items()}

            with _timed(settings, results, "federated_arms"):
                federated = runner.federated(first)
                results.arms[FEDERATED] = federated.scores
                results.organ_arms = federated.by_organ

            with _timed(settings, results, "explanations"):
                if ARM in federated.weights:
                    generator = runs[chosen][0] if chosen else None
                    explain_reference_sets(settings, federated.weights[ARM], chosen, generator)

            with _timed(settings, results, "cross_site"):
                crossed = cross_site(grid, settings, roster, federated)
                results.cross_site = crossed.arms.pop(ARM, None)
                results.cross_site_arms, results.cross_site_gain = crossed.arms, crossed.gains

            with _timed(settings, results, "trials"):
                results.trials = [runner.result(first, local, federated)]
                for trial in runner.further():
                    results.trials.append(trial)
                    _save(settings, results)
                _conclude(experiment, results)

            with _timed(settings, results, "privacy"):
                results.privacy = privacy_results(grid, settings, roster, _trainings(experiment, chosen))

            results.run.finished = _once(settings, "finished")
            _save(settings, results)
            log.info("finished", extra={"run": settings.name})
        finally:
            progress.close()
    return results


def make_app(settings: StudySettings | None = None) -> ServerApp:
    """The ServerApp; without ``settings`` they come from the run config of ``flwr run``."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        if settings is not None:
            run_study(grid, settings)
            return
        with deployed(grid, context) as (network, its_settings):
            run_study(network, its_settings)

    return app


app = make_app()


def _conclude(experiment: Experiment, results: Results) -> None:
    """What all trials together say."""
    results.repeated = repeated(results.trials)
    results.gains = pooled_gains(results.trials)
    results.apart = arms_apart(results.trials)
    results.comparisons, results.not_compared = comparisons(experiment, results.trials)


def _begin(settings: StudySettings) -> Results:
    """A new results tree, or the one of the run that is resumed."""
    require_configuration_as_begun(settings.run_dir, settings.experiment)
    require_weights_as_begun(settings)
    write_bytes(settings.run_dir / "config.yaml", to_yaml(settings.experiment).encode())
    keep_places(settings)
    return Results(
        run=RunInfo(
            name=settings.name,
            seed=settings.experiment.seed,
            engine=settings.engine,
            started=_once(settings, "started"),
            demo_cohort=settings.demo_cohort,
            versions=made_with(settings.run_dir),
            config=_configuration(settings),
        )
    )


def _once(settings: StudySettings, event: str) -> str:
    """When it happened first: a run that is resumed began then, and one that had ended has."""
    file = settings.run_dir / "checkpoints" / f"{event}.json"
    if not file.exists():
        write_json(file, {event: _now()})
    time: str = read_json(file)[event]
    return time


def _configuration(settings: StudySettings) -> dict[str, object]:
    """The configuration as the report shows it: without paths of this machine."""
    loaded = read_yaml(settings.told)
    assert isinstance(loaded, dict)
    return loaded


def planned_phases(experiment: Experiment) -> list[tuple[str, int]]:
    """Phases and their rounds, for the time left."""
    chosen = labelling_model(experiment)
    models = [model_of(experiment, name) for name in experiment.models]
    return [
        *(phase for model in models for phase in _gan_phases(experiment, model)),
        *([(f"synthesis/{chosen}", 1)] if chosen else []),
        ("arms", 1),
        *([(pretraining_phase("classifier"), 1)] if experiment.pretraining.classifier_steps else []),
        *((classifier_phase(arm), experiment.classifier.federation.rounds) for arm in trained_arms(experiment, chosen)),
        ("cross_site", 1),
        *further_phases(experiment),
    ]


def _trainings(experiment: Experiment, chosen: str | None) -> list[str]:
    """The phases in which sites train together, in order."""
    models = [model_of(experiment, name) for name in experiment.models]
    gans = [gan_phase(model.name, run) for model in models for run in runs_of(model)]
    return [*gans, *(classifier_phase(arm) for arm in trained_arms(experiment, chosen))]


def _gan_phases(experiment: Experiment, model: Model) -> list[tuple[str, int]]:
    """A GAN's trainings, and before them the release of its proxies where it needs any."""
    proxies = [(proxy_phase(model.name), 1)] if proxy_source(experiment, model.name) else []
    trainings: list[tuple[str, int]] = []
    for run in runs_of(model):
        phase = gan_phase(model.name, run)
        if experiment.pretraining.gan_steps:
            trainings.append((pretraining_phase(phase), 1))
        trainings.append((phase, model.federation.rounds))
    return [*proxies, *trainings]


def _entries(roster: Roster) -> dict[str, SiteEntry]:
    return {
        member.site: SiteEntry(
            **member.hello.model_dump(
                include={"organ", "modality", "patients", "slices", "quarantined", "contrasts", "roles", "notes"}
            )
        )
        for member in roster.members
    }


def _announce(settings: StudySettings, roster: Roster, plans: Sequence[PlannedTraining]) -> None:
    for member in roster.members:
        tasks = ", ".join(map(printable, member.hello.tasks))
        settings.progress.message(f"{member.site}: {tasks or 'takes part in nothing'}")
        for note in member.hello.notes:
            settings.progress.message(f"{member.site}: {quoted(note, 400)}")
    for name, reason in roster.refused.items():
        settings.progress.message(f"{name} does not take part: {reason}")
        log.warning("refused", extra={"site": name, "reason": reason})
    for plan in plans:
        settings.progress.message(told(plan))


@contextmanager
def _timed(settings: StudySettings, results: Results, phase: str) -> Iterator[None]:
    """Adds the phase's seconds to those of earlier attempts, and saves what is known so far."""
    file = settings.run_dir / "checkpoints" / "timings.json"
    spent: dict[str, float] = read_json(file) if file.exists() else {}
    begun = time.monotonic()
    yield
    results.silent = silences(settings.run_dir)
    results.timings = {**spent, phase: round(spent.get(phase, 0.0) + time.monotonic() - begun, 2)}
    write_json(file, results.timings)
    _save(settings, results)


def _save(settings: StudySettings, results: Results) -> None:
    write_bytes(settings.run_dir / "results.json", results.model_dump_json(by_alias=True, indent=1).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
