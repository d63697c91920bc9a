"""What a study will ask, send, cost and not measure, told before it starts: ``oncofed-server run --plan``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConfigError, DataError, StudyError
from common.figures.formatting import plural
from common.imaging.names import CONTRASTS
from common.imaging.readers.registry import build_reader
from common.study.experiment import Experiment
from common.study.models import model_of
from common.training.build import proxy_source, site_view
from common.training.families import trainer_module
from common.training.trainer import Exchange, View
from server.app import planned_phases
from server.operation.plan_cost import PrivacyCost, Traffic, privacy_cost, seconds, size, traffic
from server.operation.plan_patients import least_patients, not_measured
from server.operation.studies import started_studies
from server.provision.federation import FederationSettings
from server.provision.provision import Places
from server.reference import patients_by_part
from server.schedule import duration
from server.whole_study import KnownSite, notes, require_folds

LEAST_REFERENCE = 2
"""Patients of a part of the reference set without which nothing can be scored on it."""


@dataclass(frozen=True)
class PlannedSite:
    """One site.

    Attributes:
        name: of it.
        organ: that it has.
        state: in the list of sites: ``enrolled``, ``invited``, ``revoked`` or ``not provisioned``.
        patients: how many it has, if anybody told.
        told: who.
    """

    name: str
    organ: str
    state: str
    patients: int | None = None
    told: str = ""


@dataclass
class StudyPlan:
    """A study before its start.

    Attributes:
        experiment: checked, with absolute paths.
        sites: that are to take part.
        reference: patients of each part, by organ.
        phases: and their rounds.
        traffic: by training.
        seconds: of all rounds, if an earlier study tells.
        privacy: by site, where the study is private and a number of patients is known.
        warnings: what will not be measured, and who will not take part; a study with any needs a yes.
        notes: what else is worth knowing.
    """

    experiment: Experiment
    sites: Sequence[PlannedSite]
    reference: Mapping[str, Mapping[str, int]]
    phases: Sequence[tuple[str, int]]
    traffic: Sequence[Traffic]
    seconds: float | None
    privacy: Mapping[str, PrivacyCost]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def planned_sites(settings: FederationSettings, places: Places, names: Sequence[str]) -> list[PlannedSite]:
    """The sites with what is known of them: ``federation.yaml`` first, then what they declared in earlier studies."""
    registered = places.registry.read().sites if places.registry.exists() else {}
    invited = {site.name: site for site in settings.sites}
    found = []
    for name in names:
        record = registered.get(name)
        organ = record.organ if record is not None else invited[name].organ
        patients, told = (invited[name].patients if name in invited else None), "federation.yaml"
        if patients is None:
            patients, told = _declared(places, name)
        found.append(PlannedSite(name, organ, record.state if record else "not provisioned", patients, told))
    return found


def make_plan(experiment: Experiment, sites: Sequence[PlannedSite], places: Places) -> StudyPlan:
    """The plan of a study that was checked.

    Raises:
        ConfigError: if it cannot work: a reference set that is too small, or sites that are not enough for a GAN.
    """
    require_folds(experiment, [KnownSite(site.name, site.organ, patients=site.patients) for site in sites])
    phases = planned_phases(experiment)
    plan = StudyPlan(
        experiment=experiment,
        sites=sites,
        reference={organ: _reference(experiment, organ) for organ in experiment.organs},
        phases=phases,
        traffic=traffic(experiment, phases),
        seconds=seconds(experiment, phases, [one.folder for one in started_studies(places)]),
        privacy=_privacy(experiment, sites),
    )
    plan.notes += notes(experiment)
    for site in sites:
        _look_at(plan, site)
    _look_at_models(plan)
    if experiment.study.centralised:
        plan.notes.append("study.centralised: is left out, as between institutions slices do not lie in one place")
    return plan


def plan_lines(plan: StudyPlan) -> list[str]:
    """The plan for the screen, whole."""
    experiment = plan.experiment
    lines = [f"plan of {experiment.name}: {', '.join(experiment.models)}; arms {', '.join(experiment.study.arms)}"]
    lines += [f"  {line}" for line in _site_lines(plan)]
    for organ, parts in plan.reference.items():
        counted = ", ".join(f"{part} {count}" for part, count in parts.items())
        lines.append(f"  reference {organ}: {experiment.reference[organ].path} (patients: {counted})")
    rounds = sum(count for _, count in plan.phases)
    lines.append(f"  phases: {', '.join(f'{name} ({count})' for name, count in plan.phases)}")
    lines.append(f"  {_time(plan, rounds)}")
    for one in plan.traffic:
        lines.append(
            f"  traffic {one.training}: {size(one.size)} to each site and back, {one.exchanges} times: "
            f"{size(one.size * one.exchanges)} each way"
        )
    lines += [f"  {line}" for line in _privacy_lines(plan)]
    lines += [f"  note: {note}" for note in plan.notes]
    lines += [f"  WARNING: {warning}" for warning in plan.warnings]
    if not plan.warnings:
        lines.append("  nothing is known that would not be measured")
    return lines


def short_lines(plan: StudyPlan) -> list[str]:
    """The plan in short: what a study that starts says first."""
    rounds, total = sum(count for _, count in plan.phases), sum(one.size * one.exchanges for one in plan.traffic)
    return [
        f"plan of {plan.experiment.name}: {', '.join(site.name for site in plan.sites)}; {plural(rounds, 'round')}, "
        f"{_time(plan, rounds)}; about {size(total)} each way at a site",
        *(f"  {line}" for line in _privacy_lines(plan)),
        *(f"  note: {note}" for note in plan.notes),
        *(f"  WARNING: {warning}" for warning in plan.warnings),
    ]


def _site_lines(plan: StudyPlan) -> list[str]:
    width, lines = max(len(site.name) for site in plan.sites), []
    for site in plan.sites:
        known = f"{site.patients} patients ({site.told})" if site.patients else "patients unknown"
        lines.append(f"{site.name:{width}}  {site.organ}, {site.state}, {known}")
    return lines


def _time(plan: StudyPlan, rounds: int) -> str:
    if plan.seconds is None:
        return "time unknown: no earlier study here had these models, sizes and steps"
    return f"about {duration(plan.seconds)} by an earlier study, for {plural(rounds, 'round')}"


def _privacy_lines(plan: StudyPlan) -> list[str]:
    privacy = plan.experiment.privacy
    if privacy.mode == "none":
        return []
    lines = [f"privacy: {privacy.mode}, epsilon {privacy.epsilon:g} of each site's budget at most"]
    for site, cost in plan.privacy.items():
        noise = f"noise about {cost.sigma:.2g}" if cost.sigma is not None else "no noise is enough"
        lines.append(
            f"privacy at {site}: {cost.steps} steps with {noise}, sampling rate {cost.rate:.2g}, delta {cost.delta:g}, "
            f"counted with {cost.patients} patients; the site plans with what is left of its own budget"
        )
    return lines


def _look_at(plan: StudyPlan, site: PlannedSite) -> None:
    experiment = plan.experiment
    if site.state != "enrolled":
        plan.warnings.append(f"{site.name}: has not joined ({site.state}); a study starts without it")
    if site.organ not in experiment.organs:
        plan.warnings.append(
            f"{site.name}: takes part in nothing, it has {site.organ} and the study is about "
            f"{', '.join(experiment.organs)}"
        )
    elif experiment.privacy.mode != "none":
        cost = plan.privacy.get(site.name)
        if cost is None:
            plan.notes.append(
                f"{site.name}: what the study costs and tells is unknown: ask the site, or let it declare its patients "
                "(`patients` in federation.yaml)"
            )
        elif cost.sigma is None:
            plan.warnings.append(f"{site.name}: no noise makes {cost.steps} steps fit into the epsilon; it will refuse")
        elif cost.rate >= 1:
            plan.notes.append(
                f"{site.name}: every patient is in every step; fewer privacy.expected_batch_size cost less"
            )
    elif site.patients is None:
        least = least_patients(experiment.split, experiment.study.min_cell)
        enough = f"{least} patients are enough to test on" if least else "no patient tests"
        plan.notes.append(
            f"{site.name}: what will be null is unknown: ask the site, or let it declare its patients (`patients` in "
            f"federation.yaml); with this split {enough}"
        )
    else:
        plan.warnings += [f"at {site.name} {one}" for one in not_measured(experiment, site.patients)]


def _look_at_models(plan: StudyPlan) -> None:
    experiment = plan.experiment
    for name in experiment.models:
        model, views = model_of(experiment, name), _views(plan, name)
        family = trainer_module(model.family).Trainer
        try:
            family.check_views(model.config, views)
        except StudyError as error:
            plan.notes.append(
                f"models.{name}: which contrasts sites hold is known at their hello; by organ alone: {error}"
            )
        if len(views) < experiment.strategy.quorum:
            raise ConfigError(
                f"models.{name}: {plural(len(views), 'site')} can train it ({', '.join(views) or 'none'}), "
                f"strategy.quorum={experiment.strategy.quorum} are needed"
            )
        for site in plan.sites:
            if site.organ in experiment.organs and site.name not in views:
                plan.notes.append(f"{site.name}: takes no part in {name}, which looks at other images")
        if getattr(model.config, "exchange", None) == Exchange.GRADIENTS:
            plan.warnings.append(
                f"models.{name}.exchange=gradients: gradients of single slices can be turned back into images; "
                f"{', '.join(views)} drop out of {name} unless their site.yaml allows it"
            )
        if proxy_source(experiment, name) is not None:
            plan.warnings.append(
                f"models.{name}.exchange=proxies: {', '.join(views)} release no slices unless their site.yaml says "
                "may_release_synthetic: true, and the study stops where no site of a side does"
            )


def _views(plan: StudyPlan, model: str) -> dict[str, View]:
    """What each site would show a model if it holds all contrasts: which it does hold only its hello says."""
    experiment, found = plan.experiment, {}
    for site in plan.sites:
        if site.organ in experiment.organs:
            view = site_view(experiment, model_of(experiment, model), site.organ, CONTRASTS)
            if view is not None:
                found[site.name] = view
    return found


def _reference(experiment: Experiment, organ: str) -> dict[str, int]:
    one, root = experiment.reference[organ], Path(str(experiment.reference[organ].path))
    contrasts = experiment.organs[organ].contrasts
    try:
        reader = build_reader(one.reader, organ=organ, contrasts=contrasts, options=one.options)
        counts = patients_by_part(reader, root)
    except DataError as error:
        raise ConfigError(f"reference.{organ}.path={root}: {error}") from error
    for part, count in counts.items():
        if count < LEAST_REFERENCE and (part != "pretraining" or experiment.pretraining.gan_steps):
            raise ConfigError(
                f"reference.{organ}.path={root}: {part} holds {plural(count, 'patient')} that {one.reader} can read, "
                f"{LEAST_REFERENCE} are needed; reference.{organ}.reader names another format"
            )
    return counts


def _privacy(experiment: Experiment, sites: Sequence[PlannedSite]) -> dict[str, PrivacyCost]:
    if experiment.privacy.mode == "none":
        return {}
    return {
        site.name: privacy_cost(experiment, site.organ, site.patients)
        for site in sites
        if site.patients and site.organ in experiment.organs
    }


def _declared(places: Places, site: str) -> tuple[int | None, str]:
    """What a site told of its number of patients in the newest study in which it told any."""
    for study in reversed(started_studies(places)):
        try:
            patients = json.loads((study.folder / "results.json").read_bytes())["sites"][site]["patients"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(patients, int) and patients > 0:
            return patients, f"declared in {study.folder.name}"
    return None, ""
