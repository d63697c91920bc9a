"""What a training cost in privacy, as tables and sentences: alike in the study's report and in a site's own."""

from collections.abc import Mapping

from common.figures.formatting import listed, plural
from common.report.tables import Cell, Table, number, prose, word
from common.results.privacy import AuditBound, CanaryResult, MechanismTests, PrivacyStatement
from common.study.phases import Phase, PhaseKind
from common.study.privacy import MEANING, NOT_COVERED


def epsilon_text(value: float) -> str:
    """
    >>> epsilon_text(7.023), epsilon_text(0.0)
    ('7.02', '0')
    """
    return f"{value:.2f}" if value else "0"


def delta_text(value: float) -> str:
    """
    >>> delta_text(1e-5)
    '1e-05'
    """
    return f"{value:.0e}"


def mechanisms_table(statements: Mapping[str, PrivacyStatement]) -> Table:
    """Site by site, what each training took, and all of it composed."""
    rows = []
    for site, statement in statements.items():
        for one in statement.mechanisms:
            rows.append(
                [
                    word(site),
                    word(one.mechanism),
                    number(one.steps),
                    number(f"{one.sigma:.3f}"),
                    number(f"{one.q:.4f}"),
                    number(epsilon_text(one.epsilon)),
                ]
            )
        rows.append(
            [
                word(site),
                word("all of it, composed"),
                number(sum(one.steps for one in statement.mechanisms)),
                number(None),
                number(None),
                number(epsilon_text(statement.epsilon)),
            ]
        )
    deltas = sorted({delta_text(statement.delta) for statement in statements.values()})
    return Table(
        f"Privacy spent by training, at delta {listed(deltas)}. Sigma: standard deviation of the noise in units of the "
        "clipping bound; q: probability that a patient takes part in a step; steps include those of repeated rounds. "
        "Epsilon by numerical composition (PRV). Trainings on the same patients cost less together than one by one.",
        ["site", "training", "steps", "sigma", "q", "epsilon"],
        rows,
    )


def composed_table(statements: Mapping[str, PrivacyStatement]) -> Table:
    """One row a site: what the whole study cost its patients."""
    models = list(dict.fromkeys(model for one in statements.values() for model in one.models))
    rows = [
        [
            word(site),
            number(one.patients),
            number(delta_text(one.delta)),
            number(f"{one.max_grad_norm:g}"),
            *(number(epsilon_text(one.models[model]) if model in one.models else None) for model in models),
            number(epsilon_text(one.epsilon)),
            number(epsilon_text(one.epsilon_rdp)),
        ]
        for site, one in statements.items()
    ]
    return Table(
        "What the study cost the patients of each site: the unit is one patient, added or removed. Epsilon of each "
        "model by itself and of all composed, by numerical composition (PRV); the gate's is by Rényi differential "
        "privacy, which is never lower.",
        ["site", "patients (declared)", "delta", "max. gradient norm", *models, "composed", "of the gate"],
        rows,
        [("", 4), ("epsilon", len(models) + 2)],
    )


def added_text(bound: AuditBound) -> str:
    """What a planted patient added, and from what on it would be noticed; in words."""
    if bound.stated is None or bound.stated.sensitivity is None:
        return "what a patient adds is not known"
    noticed = f" (noticed from {bound.found_from:.2f})" if bound.found_from is not None else ""
    return f"a patient adds {bound.stated.sensitivity:.2f} of the stated bound{noticed}"


def noise_text(stated: MechanismTests) -> str:
    """
    >>> noise_text(MechanismTests(draws=0, sensitivity=None, noise=1.004, p={}))
    'noise has 1.00 of the stated size'
    """
    return "noise is not known" if stated.noise is None else f"noise has {stated.noise:.2f} of the stated size"


def canary_text(tried: CanaryResult) -> str:
    """What two made-up hospitals that differ in one patient showed, in a sentence."""
    if tried.findings:
        return f"depends on one patient beyond what is paid for: {'; '.join(tried.findings)}. Do not use"
    return (
        f"asked the same, two made-up hospitals that differ in one patient answer alike; {tried.steps} private steps "
        f"differ by at most {tried.most:.3f} of the clipping bound: holds"
    )


def audit_table(bounds: list[AuditBound]) -> Table:
    """What an attacker with planted patients could prove, and what they show of the step, beside what is claimed."""
    rows = [
        [
            word(one.mechanism),
            number(one.steps),
            number(epsilon_text(one.claimed)),
            number(epsilon_text(one.bound)),
            number(f"{one.right} of {one.guesses}"),
            _added(one),
            number(None if one.stated is None or one.stated.noise is None else f"{one.stated.noise:.2f}"),
            number(None if one.stated is None or not one.stated.p else f"{min(one.stated.p.values()):.2g}"),
            prose("holds" if one.holds else f"{'; '.join(one.findings)}: do not use"),
        ]
        for one in bounds
    ]
    canaries = listed(sorted({str(one.canaries) for one in bounds}))
    return Table(
        f"One-run audit with {canaries} planted patients a training step. Epsilon: its lower bound beside the claim "
        "for as many steps as were audited. Stated mechanism: a patient adds 1.00 of the stated bound and noise has "
        "1.00 of the stated size where all is as stated, give or take chance; in brackets, what a patient would have "
        f"to add to be noticed nine times of ten; least p is of all tests of the mechanism. {_alarms(bounds)} A bound "
        "above its claim, or another mechanism than the stated one, is a fault; an audit that finds nothing proves "
        "nothing.",
        [
            "training step",
            "steps audited",
            "claimed",
            "at least",
            "guesses right",
            "a patient adds",
            "noise",
            "least p",
            "verdict",
        ],
        rows,
        [("", 2), ("epsilon", 3), ("stated mechanism", 3), ("", 1)],
    )


def _added(bound: AuditBound) -> Cell:
    if bound.stated is None or bound.stated.sensitivity is None:
        return number(None)
    noticed = "" if bound.found_from is None else f"(from {bound.found_from:.2f})"
    return Cell(f"{bound.stated.sensitivity:.2f}", noticed, "number")


def _alarms(bounds: list[AuditBound]) -> str:
    """One sentence: how often all these tests together would call a sound step a fault."""
    told = [(one.false_alarm, one.level) for one in bounds if one.false_alarm is not None and one.level is not None]
    if not told:
        return "Each bound has 95% confidence by itself; the mechanism was not tested."
    whole, each = max(told)
    return (
        f"All tests of the audit together call a fault where there is none in at most {whole:.0%} of audits; each is "
        f"made at a level of {each:.1e}."
    )


def sentences(statements: Mapping[str, PrivacyStatement]) -> list[str]:
    """The meaning of an epsilon, and what it leaves out; shown wherever one is."""
    worst = max(statements.values(), key=lambda one: one.epsilon, default=None)
    found = [MEANING]
    if worst is not None:
        found.append(
            f"{plural(len(statements), 'site')} trained with a guarantee; the largest epsilon of a site is "
            f"{epsilon_text(worst.epsilon)} at delta {delta_text(worst.delta)}."
        )
    noised = [site for site, one in statements.items() if any(_is_scores(m.mechanism) for m in one.mechanisms)]
    if noised:
        found.append(
            f"Figures on test patients of {listed(noised)} carry noise and are paid for; patients count alike in them, "
            "there is no AUC, and their intervals include the noise."
        )
    return found


def _is_scores(mechanism: str) -> bool:
    return Phase.parse(mechanism).kind == PhaseKind.SCORES


def left_out() -> list[str]:
    """What epsilon does not cover."""
    return list(NOT_COVERED)
