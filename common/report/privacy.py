"""What a training cost in privacy, as tables and sentences: alike in the study's report and in a site's own."""

from collections.abc import Mapping

from common.privacy import MEANING, NOT_COVERED
from common.report.formatting import listed, plural
from common.report.tables import Table, number, prose, word
from common.results_privacy import AuditBound, PrivacyStatement


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
            number(f"{one.clip:g}"),
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
        ["site", "patients (declared)", "delta", "clip", *models, "composed", "of the gate"],
        rows,
        [("", 4), ("epsilon", len(models) + 2)],
    )


def audit_table(bounds: list[AuditBound]) -> Table:
    """What an attacker with planted patients could prove, beside what is claimed."""
    rows = [
        [
            word(one.mechanism),
            number(one.steps),
            number(epsilon_text(one.claimed)),
            number(epsilon_text(one.bound)),
            number(f"{one.right} of {one.guesses}"),
            prose("holds" if one.holds else "more leaks than is claimed: do not use"),
        ]
        for one in bounds
    ]
    canaries = listed(sorted({str(one.canaries) for one in bounds}))
    return Table(
        f"One-run audit with {canaries} planted patients a training step: the lower bound of epsilon at 95% confidence "
        "beside the claim for as many steps as were audited. A bound above its claim proves a fault; one below it "
        "proves nothing, and a wrong factor of two would not be seen.",
        ["training step", "steps audited", "claimed", "at least", "guesses right", "verdict"],
        rows,
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
    return found


def left_out() -> list[str]:
    """What epsilon does not cover."""
    return list(NOT_COVERED)
