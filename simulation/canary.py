"""Two made-up hospitals that differ in one patient, asked the same by the same messages: what differs in what leaves?

The audit (:mod:`client.privacy.audit`) looks at one step. This looks at the way there: the real ClientApp, its split,
draws, losses and synthetic slices. Both hospitals draw the same chance, so that a private step may differ by the
clipping bound and no more, whatever else the patient touched; and everything else that is answered may not differ at
all. Nothing here is a matter of chance: there is no false alarm to speak of.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from flwr.app import Message, RecordDict
from torch import Tensor

from client.app import make_app, site_from_node_config
from client.data.context import StudyContext
from client.data.open_studies import OpenStudies, OpenStudy
from client.data.site_data import SiteData
from client.privacy.gradients import GradSampleMode, Watch
from client.privacy.ledger import Ledger
from client.privacy.randomness import KEY_BYTES, PrivateRandom
from client.privacy.roster import Role, begin_roster, place_of, role_of
from client.privacy.training import Means
from client.site import PrivacySettings, Shares, SiteSettings, load_site, save_site
from common.protocol.actions import Action
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    Instruction,
    instruction_record,
    received_arrays,
    to_arrays,
    to_images,
)
from common.results.privacy import CanaryResult
from common.study.config import to_yaml
from common.study.experiment import Experiment, FederationConfig, PreprocessingConfig
from common.study.models import model_of
from common.study.phases import Phase, PhaseKind, classifier_phase, gan_phase
from common.study.trials import arms_in_federation
from common.training.build import (
    build_classifier_trainer,
    build_gan_trainer,
    labelling_model,
    proxy_source,
    site_view,
)
from common.training.families import trainer_module
from common.training.trainer import Exchange
from simulation.grid import FIRST_NODE, InProcessGrid
from simulation.phantom import PhantomReader, phantom_settings, write_phantoms

PATIENTS = 6
"""That train in both hospitals; one more trains in the first."""

STEPS = 3
CLIP = 1e-3
"""So small that every patient is clipped: a patient that adds less than it may would hide a fault."""

SHARES = Shares(train=0.6, test=0.4)
KEY = bytes(range(KEY_BYTES))
TOLERANCE = 1e-3
UNKNOWN_IMAGES = 3
"""Images of the one person, where a data set names no patients."""


@dataclass
class Heard:
    """What one made-up hospital answered and added up.

    Attributes:
        answers: question -> what was said but for weights, as text.
        weights: question -> the weights that were sent.
        sums: question -> what each step added up to, before the noise.
        charges: question -> lines that it added to the ledger.
    """

    answers: dict[str, str] = field(default_factory=dict)
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    charges: dict[str, int] = field(default_factory=dict)


def canary(experiment: Experiment) -> CanaryResult:
    """What a study's private path does with one patient more or less; ``findings`` is empty where it is sound.

    Args:
        experiment: a private study. Its networks, losses, arms and size of slices are looked at; patients, noise and
            numbers of steps are made up.
    """
    findings: list[str] = []
    most, steps = 0.0, 0
    for mode in GradSampleMode:
        for known in (True, False):
            with TemporaryDirectory(prefix="oncofed-canary-") as folder:
                heard = [_ask_everything(Path(folder), experiment, mode, known, present) for present in (True, False)]
            found, furthest, seen = _compare(heard[0], heard[1], known)
            case = f"{mode.value}, {'patients known' if known else 'patients not named'}"
            findings += [f"{one} ({case})" for one in found]
            most, steps = max(most, furthest), steps + seen
    return CanaryResult(most=most, steps=steps, findings=findings)


def _compare(first: Heard, second: Heard, known: bool) -> tuple[list[str], float, int]:
    """What differs beyond the bound, the largest difference of a step in units of the bound, and how many were seen."""
    found: list[str] = []
    most, seen = 0.0, 0
    for question, answer in first.answers.items():
        if answer != second.answers[question]:
            found.append(f"{question}: the answer itself depends on the patient")
        mine, others = first.weights.get(question, {}), second.weights.get(question, {})
        if not (first.charges[question] and second.charges[question]):
            same = mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)
            if not same:
                found.append(f"{question}: arrays that depend on the patient were sent and not paid for")
        steps, other_steps = first.sums.get(question, []), second.sums.get(question, [])
        if len(steps) != len(other_steps):
            found.append(f"{question}: the number of steps depends on the patient")
        if known and Phase.parse(question).kind in (PhaseKind.GAN, PhaseKind.CLASSIFIER) and not steps:
            found.append(f"{question}: no private step was seen, so that nothing can be said of it ({answer[:100]})")
        for a, b in zip(steps, other_steps, strict=False):
            apart = float((a - b).norm()) / CLIP
            most, seen = max(most, apart), seen + 1
            if apart > 1 + TOLERANCE:
                found.append(f"{question}: one patient moves a step by {apart:.2f} times the clipping bound")
                break
    return found, most, seen


# ---------------------------------------------------------------------------------------------------- the two hospitals


def _ask_everything(folder: Path, experiment: Experiment, mode: GradSampleMode, known: bool, present: bool) -> Heard:
    organ = _organ(experiment)
    study = canary_study(experiment, organ, mode)
    held = _held(study, organ)
    settings = _hospital(folder / ("with" if present else "without"), organ, held, known, present)
    heard = Heard()
    current = [""]

    def watch(sums: dict[str, Tensor]) -> None:
        heard.sums.setdefault(current[0], []).append(torch.cat([part.flatten() for part in sums.values()]))

    grid = InProcessGrid(make_app(site_from_node_config, _Studies(watch, known)), [settings])
    text = to_yaml(study, leaving=True)
    site = load_site(settings)
    for question, action, fields, content in _questions(study, organ, held):
        current[0] = question
        record = RecordDict(
            {CONFIG: instruction_record(Instruction(run="canary", experiment=text, **fields)), **content}
        )
        before = _charges(site)
        (reply,) = grid.send_and_receive([Message(record, dst_node_id=FIRST_NODE, message_type=action)])
        heard.charges[question] = _charges(site) - before
        if reply.has_error():
            heard.answers[question] = f"error: {reply.error.reason}"
            continue
        told = {key: dict(reply.content[key]) for key in (CONFIG, METRICS) if key in reply.content}
        heard.answers[question] = repr(told)
        if ARRAYS in reply.content:
            heard.weights[question] = received_arrays(reply.content)
    return heard


class _Studies(OpenStudies):
    """Studies on made-up patients, which draw alike in both hospitals and show what each step adds up to."""

    def __init__(self, watch: Watch, known: bool) -> None:
        super().__init__()
        self._watch, self._known = watch, known

    def begin(self, study: StudyContext) -> OpenStudy:
        means = Means(lambda: PrivateRandom(KEY), self._watch)
        return OpenStudy(SiteData.of(study, make_reader=self._reader), means=means)

    def _reader(self, settings: SiteSettings, contrasts: tuple[str, ...]) -> PhantomReader:
        return PhantomReader(settings.organ, contrasts, self._known)


def _hospital(folder: Path, organ: str, held: list[str], known: bool, present: bool) -> Path:
    """Its ``site.yaml``; the patient that makes the difference is one that the roster lets train."""
    names = [f"canary-{index:03d}" for index in range(4 * PATIENTS)]
    train = [name for name in names if role_of(KEY, name, SHARES) is Role.TRAIN]
    test = [name for name in names if role_of(KEY, name, SHARES) is Role.TEST]
    # The first of all by rank, so that a split by rank would move others.
    train.sort(key=lambda name: place_of(KEY, "order", name))
    one, others = train[0], train[1 : PATIENTS + 1]
    of_one = [one] if known else train[PATIENTS + 1 : PATIENTS + 1 + UNKNOWN_IMAGES]
    write_phantoms(folder / "data", [*others, *test[:PATIENTS], *(of_one if present else [])])
    own = PrivacySettings(epsilon=1e9, patients=PATIENTS, shares=SHARES, known=folder / "known")
    # Each way of training together is tried, those that a hospital has to allow among them.
    more = {"privacy": own, "min_cell": 2, "allowed_exchanges": list(Exchange)}
    settings = phantom_settings("canary", organ, held, folder / "data", folder / "site", **more)
    begin_roster(settings.privacy_folder(), KEY)
    file = folder / "site" / "site.yaml"
    save_site(settings, file)
    return file


def _charges(site: SiteSettings) -> int:
    return len(Ledger(site.ledger_files(), site.name).entries())


# ------------------------------------------------------------------------------------------------ what they are asked


def canary_study(experiment: Experiment, organ: str, mode: GradSampleMode) -> Experiment:
    """The study with few steps that move no weight: what a step adds up to is then the same question every time."""
    once = FederationConfig(rounds=1, local_steps=STEPS)
    models = {
        name: {**entry, "federation": dataclasses.asdict(once), "runs": 1} for name, entry in experiment.models.items()
    }
    window = [0.0, 1000.0] if tuple(experiment.organs[organ].contrasts) == ("ct",) else [-2.5, 4.5]
    organs = {
        one: dataclasses.replace(config, min_tumour_pixels=4, steps=PreprocessingConfig(window=window))
        if one == organ
        else config
        for one, config in experiment.organs.items()
    }
    study = dataclasses.replace(
        experiment,
        models=models,
        organs=organs,
        image=dataclasses.replace(experiment.image, min_foreground=0.05),
        classifier=dataclasses.replace(experiment.classifier, federation=once),
        study=dataclasses.replace(experiment.study, bootstrap=20, min_cell=2),
        privacy=dataclasses.replace(
            experiment.privacy,
            epsilon=1e8,
            max_grad_norm=CLIP,
            expected_batch_size=PATIENTS - 1,
            slices_per_patient=2,
            dp_step_fraction=1.0,
            grad_sample_mode=mode.value,
            scores="exact",
        ),
    )
    return dataclasses.replace(study, privacy=dataclasses.replace(study.privacy, rates=_no_rates(study)))


def _no_rates(study: Experiment) -> dict[str, float]:
    rates = {"classifier/classifier": 1e-12}
    for name in study.models:
        trainer = build_gan_trainer(study, name, device=torch.device("cpu"), weights=study.weights)
        rates |= {f"{name}/{optimiser}": 1e-12 for optimiser in trainer.optimisers}
    return rates


def _organ(experiment: Experiment) -> str:
    """The organ that most of the study's models look at."""

    def looking(organ: str) -> int:
        held = _held(experiment, organ)
        return sum(
            site_view(experiment, model_of(experiment, name), organ, held) is not None for name in experiment.models
        )

    return max(experiment.organs, key=looking)


def _held(experiment: Experiment, organ: str) -> list[str]:
    held = set(experiment.organs[organ].contrasts)
    for name in experiment.models:
        sides = getattr(model_of(experiment, name).config, "domains", None) or []
        held |= {contrast for side in sides if side.organ == organ for contrast in side.contrasts}
    return sorted(held)


Question = tuple[str, Action, dict[str, Any], dict[str, Any]]
"""(name, action, fields of the instruction, records beside it)."""


def _questions(study: Experiment, organ: str, held: list[str]) -> Iterator[Question]:
    device = torch.device("cpu")
    yield "hello", Action.HELLO, {"phase": "hello"}, {}
    weights: dict[str, dict[str, Tensor]] = {}
    for name in study.models:
        model = model_of(study, name)
        view = site_view(study, model, organ, held)
        if view is None:
            continue
        source = proxy_source(study, name)
        if source is not None:
            shape = len(trainer_module(model.family).Trainer.proxied_view(model.config, view).contrasts)
            size = study.image.size
            images = torch.rand(source.slices, shape, size, size, generator=torch.Generator().manual_seed(1))
            phase = f"proxies/{name}"
            yield phase, Action.TAKE_PROXIES, {"phase": phase, "model": name}, {ARRAYS: to_images(images)}
        weights[name] = build_gan_trainer(study, name, device=device, weights=study.weights).shared_arrays()
        phase = gan_phase(name, 1)
        fields = {"phase": phase, "model": name, "server-round": 1}
        yield phase, Action.TRAIN_GAN, fields, {ARRAYS: to_arrays(weights[name])}
    chosen = labelling_model(study)
    if chosen in weights:
        phase = f"synthesis/{chosen}"
        yield phase, Action.SYNTHESISE, {"phase": phase, "model": chosen}, {ARRAYS: to_arrays(weights[chosen])}
    yield "arms", Action.ARMS, {"phase": "arms"}, {}
    classifier = build_classifier_trainer(study, device=device, weights=study.weights, total_steps=1).shared_arrays()
    for arm in arms_in_federation(study):
        if arm != "real" and chosen not in weights:
            continue
        phase = classifier_phase(arm)
        fields = {"phase": phase, "arm": arm, "server-round": 1}
        yield phase, Action.TRAIN_CLASSIFIER, fields, {ARRAYS: to_arrays(classifier)}
        phase = f"federated/{arm}"
        yield phase, Action.EVALUATE, {"phase": phase, "arm": arm}, {ARRAYS: to_arrays(classifier)}
