"""The classifiers trained on the slices of all sites in one place: what a federation would reach without its walls.

Only a simulation can do it, where all sites lie on one machine. The images are those that each site made in the study.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.hello.notes import Notes
from client.hello.tasks import possible_tasks
from client.site import load_site
from client.study.arms import possible_arms, training_sets
from client.study.trial import score_classifier
from common.errors import StudyError
from common.figures.formatting import listed
from common.results.classifier import CENTRALISED, ClassifierScores, SiteArms
from common.results.study import Results
from common.seeding import derive_seed
from common.study.experiment import Experiment
from common.system.files import write_bytes
from common.training.build import build_classifier_trainer, steps_per_round, tumour_share
from common.training.classifier import TrainingSet
from common.training.finite import all_finite
from server.checkpoint import PhaseCheckpoints
from server.pooling import pooled


def centralised_arms(
    experiment: Experiment, run_dir: Path, site_files: Sequence[Path], tell: Callable[[str], None]
) -> None:
    """Trains one classifier an arm on all sites' slices and adds its scores, as means over the sites that gave slices,
    to the run's results under ``centralised``.

    Every site counts alike, and the optimiser takes as many steps as at each site of the federation. Done once: a run
    that is resumed finds it done.

    Raises:
        StudyError: if a classifier came to values that are not finite; nothing is kept of it.
    """
    studies = [StudyContext(load_site(file), experiment, run_dir.name) for file in site_files]
    opened = [(SiteData.of(one), WorkFolder.of(one)) for one in studies]
    giving = [one for one in opened if {"classifier", "evaluate"} <= set(possible_tasks(one[0], Notes()))]
    scores: dict[str, ClassifierScores] = {}
    for arm in experiment.study.arms:
        sites = [(data, work) for data, work in giving if arm in possible_arms(data.study, work)]
        if not sites:
            continue
        checkpoints = PhaseCheckpoints(run_dir, f"{CENTRALISED}/{arm}")
        kept = checkpoints.result()
        if kept is None:
            tell(
                f"centralised, {arm}: training on the slices of {listed(data.study.settings.name for data, _ in sites)}"
            )
            kept = _one_arm(experiment, sites, arm).model_dump()
            checkpoints.finish(kept)
        scores[arm] = pooled(list(SiteArms.model_validate(kept).arms.values()))
    file = run_dir / "results.json"
    results = Results.model_validate_json(file.read_bytes())
    results.arms[CENTRALISED] = scores
    write_bytes(file, results.model_dump_json(by_alias=True, indent=1).encode())


def _one_arm(experiment: Experiment, sites: Sequence[tuple[SiteData, WorkFolder]], arm: str) -> SiteArms:
    federation = experiment.classifier.federation
    sources = [_alike(training_sets(data, work, arm)) for data, work in sites]
    slices = sum(len(data.training) for data, _ in sites)
    steps = federation.rounds * steps_per_round(federation, slices, experiment.classifier.batch_size)
    trainer = build_classifier_trainer(
        experiment,
        device=sites[0][0].study.device,
        weights=experiment.weights,
        total_steps=steps,
        tumour_share=tumour_share([data.training for data, _ in sites]),
    )
    seed = derive_seed(experiment.seed, CENTRALISED, arm)
    losses = trainer.train(trainer.batches([one for of_site in sources for one in of_site], steps, seed))
    if not all_finite([*trainer.shared_arrays().values(), *losses.values()]):
        raise StudyError(
            f"{CENTRALISED}, {arm}: came to values that are not finite; lower classifier.learning_rate, or set "
            "study.centralised=false, in a new run"
        )
    scores = {}
    for data, work in sites:
        tested = score_classifier(data.study, work, data.test, trainer, arm, CENTRALISED)
        scores[data.study.settings.name] = tested.leaving(data.study, steps)
    return SiteArms(arms=scores)


def _alike(sources: Sequence[TrainingSet]) -> list[TrainingSet]:
    """One site's sources, their weights made to sum to 1."""
    total = sum(source.weight for source in sources)
    return [TrainingSet(source.images, source.tumour, source.weight / total) for source in sources]
