"""``oncofed-simulation audit-privacy``: the private step of every model, attacked with planted patients."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.privacy.accounting import delta_of, plan_sigma
from client.privacy.audit import FALSE_ALARM, TESTS, audit_update, level_of_each
from client.privacy.faults import Fault
from client.privacy.gradients import GradSampleMode
from client.privacy.plan import sampling_rate
from common.errors import ConfigError, PrivacyError
from common.report.privacy import added_text, canary_text, noise_text
from common.results.privacy import AuditBound, CanaryResult
from common.results.study import Results
from common.study.config import compose, from_yaml
from common.study.experiment import Experiment
from common.study.phases import Phase, PhaseKind
from common.system.files import write_bytes
from common.system.outside import say
from simulation.canary import canary
from simulation.trainings import trained_updates

RUN = "run="

STEPS_OF_A_RUN = 30
"""Steps that are audited at the end of every private run."""

VMAP_WEIGHTS = 2_000_000
"""Networks with more weights are audited one canary after another, for want of memory."""


@dataclass(frozen=True)
class Audited:
    """Noise and sampling of the training that is audited."""

    sigma: float
    q: float
    delta: float


def audit_command(
    overrides: Sequence[str], *, steps: int, canaries: int, patients: int | None, plant: str, out: Path | None
) -> None:
    """Audits a study, or a finished run, and prints what was found beside what is claimed.

    Raises:
        ConfigError: if the study is not private or an option is wrong.
        PrivacyError: if a bound exceeds its claim, or a step is not the stated mechanism.
    """
    runs = [item.removeprefix(RUN) for item in overrides if item.startswith(RUN)]
    if steps < 1 or canaries < 20:
        raise ConfigError("--steps must be at least 1 and --canaries at least 20")
    if runs and len(overrides) > 1:
        raise ConfigError(f"{RUN}{runs[0]}: a run's study is fixed; give no overrides beside it")
    results = _results(Path(runs[0])) if runs else None
    experiment = _experiment_of(Path(runs[0])) if runs else compose(list(overrides))
    if experiment.privacy.mode == "none":
        raise ConfigError("this study trains without differential privacy; write privacy=patient_dp")
    audited = _of_run(results) if results is not None else planned_noise(experiment, patients)
    bounds = []
    networks = len(audited_kinds(experiment))
    say(
        f"{canaries} planted patients, {steps} steps, sigma {audited.sigma:.3f}, q {audited.q:.4f}"
        + (f"; planted fault: {plant}" if plant != Fault.NONE else "")
    )
    say(
        f"{networks} training steps, {networks * TESTS} tests: together they call a sound installation faulty in "
        f"at most {FALSE_ALARM:.0%} of audits (level of each test {level_of_each(networks):.1e})"
    )
    for bound in audit_bounds(experiment, audited, steps=steps, canaries=canaries, fault=Fault(plant)):
        say(f"  {bound.mechanism}: {told(bound)}")
        bounds.append(bound)
    # A fault is planted in the step; the way there is as it is.
    tried = canary(experiment) if plant == Fault.NONE else None
    if tried is not None:
        say(f"  from message to answer: {canary_text(tried)}")
    if out is not None:
        write_bytes(out, json.dumps([bound.model_dump() for bound in bounds], indent=1).encode())
    if runs and tried is not None:
        keep_audit(Path(runs[0]), bounds, tried)
    if faults := [*faults_of(bounds), *(tried.findings if tried is not None else [])]:
        raise PrivacyError(f"the audit found a fault. {'. '.join(faults)}. Do not train with this installation")


def audit_run(folder: Path, progress: Callable[[str], None]) -> None:
    """The audit at the end of a private run; what it finds goes into the run's results, and a fault is told at once."""
    experiment, results = _experiment_of(folder), _results(folder)
    if experiment.privacy.mode == "none" or results.privacy is None or not results.privacy.sites:
        return
    progress(f"auditing the private step of each model ({STEPS_OF_A_RUN} steps, 1000 planted patients)")
    bounds = list(audit_bounds(experiment, _of_run(results), steps=STEPS_OF_A_RUN))
    progress("asking two made-up hospitals that differ in one patient")
    tried = canary(experiment)
    keep_audit(folder, bounds, tried)
    for fault in [*faults_of(bounds), *tried.findings]:
        progress(f"the audit found a fault. {fault}; see docs/privacy.md")


def keep_audit(folder: Path, bounds: list[AuditBound], tried: CanaryResult) -> None:
    """Writes what was found into the run's ``results.json``, where its report finds them."""
    results = _results(folder)
    if results.privacy is None:
        raise ConfigError(f"{folder}: its results say nothing of privacy; audit a run with privacy=patient_dp")
    results.privacy.audit, results.privacy.canary = bounds, tried
    write_bytes(folder / "results.json", results.model_dump_json(by_alias=True, indent=1).encode())


def planned_noise(experiment: Experiment, patients: int | None) -> Audited:
    """The noise that a site with ``patients`` declared patients would plan for the whole study.

    Raises:
        ConfigError: if their number is not known.
    """
    count = patients if patients is not None else int(experiment.split.train)
    if count < 1:
        raise ConfigError("split.train is a share, so the number of patients is not known; give --patients")
    privacy = experiment.privacy
    q = sampling_rate(privacy, count)
    planned = [(name, q, steps) for name, _, steps in trained_updates(experiment, count)]
    delta = delta_of(count)
    return Audited(plan_sigma([], planned, privacy.epsilon * (1 - privacy.reserve), delta), q, delta)


def audit_bounds(
    experiment: Experiment, audited: Audited, *, steps: int, canaries: int = 1000, fault: Fault = Fault.NONE
) -> Iterator[AuditBound]:
    """What is found for each kind of private step of the study; arms share one. All share one chance of false alarm."""
    networks = len(audited_kinds(experiment))
    seen: set[str] = set()
    for name, update, planned in trained_updates(experiment, 1):
        kind = _kind(name)
        if kind in seen:
            continue
        seen.add(kind)
        weights = sum(parameter.numel() for parameter in update.parameters().values())
        yield audit_update(
            update,
            kind,
            sigma=audited.sigma,
            max_grad_norm=experiment.privacy.max_grad_norm,
            q=audited.q,
            steps=min(steps, max(planned, 1)),
            delta=audited.delta,
            public_seed=experiment.seed,
            canaries=min(canaries, weights),
            networks=networks,
            fault=fault,
            mode=GradSampleMode.VMAP if weights <= VMAP_WEIGHTS else GradSampleMode.LOOP,
        )


def audited_kinds(experiment: Experiment) -> list[str]:
    """Names of the kinds of private step that the study has, in the order of :func:`audit_bounds`."""
    return list(dict.fromkeys(_kind(name) for name, _, _ in trained_updates(experiment, 1)))


def _kind(mechanism: str) -> str:
    return mechanism if Phase.parse(mechanism).kind == PhaseKind.GAN else "classifier"


def faults_of(bounds: Sequence[AuditBound]) -> list[str]:
    """One text for each training step that something speaks against."""
    return [f"{bound.mechanism}: {'; '.join(bound.findings)}" for bound in bounds if not bound.holds]


def told(bound: AuditBound) -> str:
    """One line: what is claimed, what is proven, and whether the step is the stated mechanism."""
    line = f"claimed {bound.claimed:.2f}, at least {bound.bound:.2f} ({bound.right} of {bound.guesses} guesses right)"
    if bound.stated is not None:
        line += f"; {added_text(bound)}, {noise_text(bound.stated)}"
        if bound.stated.p:
            line += f", least of {len(bound.stated.p)} p {min(bound.stated.p.values()):.2g}"
    return f"{line}: " + ("holds" if bound.holds else "FAULT: " + "; ".join(bound.findings))


def _of_run(results: Results) -> Audited:
    statements = results.privacy.sites.values() if results.privacy is not None else []
    for statement in statements:
        if statement.mechanisms:
            first = statement.mechanisms[0]
            return Audited(first.sigma, first.q, statement.delta)
    raise ConfigError("no site of this run stated what it spent, so there is nothing to audit")


def _experiment_of(folder: Path) -> Experiment:
    try:
        return from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{folder}: is no finished run ({error.strerror}: config.yaml)") from error


def _results(folder: Path) -> Results:
    try:
        return Results.model_validate_json((folder / "results.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: is no finished run of this release (results.json cannot be read)") from error
