"""The study's privacy: what each site spent, who refused, and what the audit proved."""

from dataclasses import dataclass

from common.figures.formatting import significant
from common.report.privacy import audit_table, canary_text, composed_table, left_out, mechanisms_table, sentences
from common.report.tables import Table, number, prose, word
from common.results.privacy import PrivacyResults
from common.results.study import GanResult, Results


@dataclass(frozen=True)
class PrivacyPart:
    """What the section shows; tables that would be empty are None."""

    sentences: list[str]
    composed: Table | None
    mechanisms: Table | None
    audit: Table | None
    canary: str
    refusals: Table | None
    silent: list[str]
    not_covered: list[str]


def privacy_part(results: Results) -> PrivacyPart | None:
    """None for a study without differential privacy."""
    found = results.privacy
    if found is None:
        return None
    stated = dict(sorted(found.sites.items()))
    return PrivacyPart(
        sentences=sentences(stated),
        composed=composed_table(stated) if stated else None,
        mechanisms=mechanisms_table(stated) if stated else None,
        audit=audit_table(found.audit) if found.audit else None,
        canary=canary_text(found.canary) if found.canary is not None else "",
        refusals=_refusals(found),
        silent=[f"{site} gave no statement: {reason}" for site, reason in sorted(found.silent.items())],
        not_covered=left_out(),
    )


def _refusals(found: PrivacyResults) -> Table | None:
    """Who did not train, and when; rounds in a row with one reason are one line."""
    spans: dict[tuple[str, str, str], list[int]] = {}
    for one in found.refusals:
        spans.setdefault((one.site, one.phase, one.reason), []).append(one.round)
    if not spans:
        return None
    rows = [
        [word(site), word(phase), number(_rounds(rounds)), prose(reason)]
        for (site, phase, reason), rounds in spans.items()
    ]
    return Table(
        "Sites that did not train in a round. The study went on without them.",
        ["site", "training", "rounds", "reason"],
        rows,
    )


def _rounds(rounds: list[int]) -> str:
    """
    >>> _rounds([2]), _rounds([3, 4, 5]), _rounds([1, 3])
    ('2', '3 to 5', '1, 3')
    """
    ordered = sorted(rounds)
    if len(ordered) > 1 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(str(number) for number in ordered)


def pretraining_table(gans: dict[str, GanResult]) -> Table | None:
    """What public images alone had taught the first run of each GAN, beside its chosen round; None where none did."""
    rows = []
    for name, gan in gans.items():
        run = gan.runs[0] if gan.runs else None
        if run is None or run.pretrained is None:
            continue
        chosen = next((one for one in gan.rounds if one.round == gan.chosen_round), None)
        for subject, before in run.pretrained.items():
            after = chosen.scores.get(subject) if chosen is not None else None
            rows.append(
                [
                    word(name),
                    word(subject),
                    number(significant(before["frechet"].value)),
                    number(significant(after["frechet"].value) if after is not None else None),
                    number(significant(before["frechet"].references["real"])),
                    number(before["frechet"].n),
                ]
            )
    if not rows:
        return None
    names = sorted(
        {one["frechet"].name for gan in gans.values() for r in gan.runs for one in (r.pretrained or {}).values()}
    )
    return Table(
        f"Public pre-training: {', '.join(names)} on the selection part before the first round, when the networks had "
        "seen public slices alone, and of the chosen round. Floor: real slices of other patients at the same n.",
        ["GAN", "images", "public only", "chosen round", "floor", "n"],
        rows,
    )
