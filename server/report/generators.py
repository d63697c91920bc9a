"""One GAN's part of the study report: final scores, the images as a set, curves over rounds, figures, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.figures.figure import ImageScores
from common.figures.formatting import duration, plural, significant
from common.report.charts import Chart, Series, line_chart
from common.report.tables import Table
from common.results.study import GanResult, SiteEntry
from server.report.figure_tables import Rounds, curves, final_table, rounds_table
from server.report.gallery import ReferenceGallery
from server.report.participation import Participation, exchange_in_words, participation
from server.report.protocols import PROTOCOLS


@dataclass(frozen=True)
class SubjectPart:
    """What is shown of one GAN on one subject; ``rounds`` is None without a scored round."""

    name: str
    curves: Sequence[Chart]
    further: Sequence[Chart]
    rounds: Table | None
    galleries: Sequence[ReferenceGallery]


@dataclass(frozen=True)
class GanPart:
    """What the page shows of one GAN, in its order.

    Attributes:
        title: name and what it does.
        exchange: how its sites trained together.
        participation: who took part.
        chosen: which round was chosen.
        about: what its scores are of.
        remarks: what a reader must know before reading on.
        final: final scores by subject; None if the run had not got there.
        subjects: curves, rounds and pictures.
        losses: one chart a loss.
        finished: rounds that were finished.
    """

    title: str
    exchange: str
    participation: Participation
    losses: Sequence[Chart]
    chosen: str
    finished: int
    about: str = ""
    remarks: Sequence[str] = ()
    final: Table | None = None
    subjects: Sequence[SubjectPart] = ()


def gan_part(
    name: str, gan: GanResult, sites: Mapping[str, SiteEntry], galleries: Sequence[ReferenceGallery]
) -> GanPart:
    """Everything that the page shows of one GAN; of a kind of score that it does not know, only the training."""
    protocol = PROTOCOLS.get(gan.protocol)
    part = GanPart(
        title=f"{name}: {protocol.title}" if protocol else f"{name}, evaluated by {gan.protocol}",
        exchange=exchange_in_words(gan),
        participation=participation(gan, sites),
        losses=loss_curves(gan),
        finished=len(gan.rounds),
        chosen="No round has been chosen."
        if gan.chosen_round is None
        else f"Round {gan.chosen_round} was chosen on the selection part of the reference set.",
    )
    if protocol is None:
        return part
    subjects = scored_subjects(gan)
    shown = [*subjects, *sorted({gallery.subject for gallery in galleries} - set(subjects))]
    scored = {subject: scored_rounds(gan, subject) for subject in shown}
    final = {subject: gan.final[subject] for subject in subjects if subject in gan.final}
    lasted = {r.round: duration(r.seconds) for r in gan.rounds}
    which = "The chosen round" if gan.chosen_round is None else f"Round {gan.chosen_round}"
    return replace(
        part,
        about=protocol.about,
        remarks=[text for s in subjects for text in remarks(s, scored[s], gan.final.get(s))],
        final=final_table(final, which) if final else None,
        subjects=[
            SubjectPart(
                subject,
                (charts := curves(scored[subject], gan.chosen_round)).first,
                charts.further,
                rounds_table(scored[subject], lasted, gan.chosen_round, subject) if scored[subject] else None,
                [gallery for gallery in galleries if gallery.subject == subject],
            )
            for subject in shown
        ],
    )


def scored_subjects(gan: GanResult) -> list[str]:
    """What its rounds or its chosen round were scored on."""
    return sorted({subject for r in gan.rounds for subject in r.scores} | set(gan.final))


def scored_rounds(gan: GanResult, subject: str) -> Rounds:
    """The scores of every round on one subject."""
    return [(r.round, r.scores[subject]) for r in gan.rounds if subject in r.scores]


def loss_curves(gan: GanResult) -> list[Chart]:
    """One panel a loss, since each has its own scale."""
    names = sorted({name for r in gan.rounds for name in r.losses})
    charts = [
        line_chart(
            name,
            [Series(name, [(r.round, r.losses[name]) for r in gan.rounds if name in r.losses])],
            x_title="round",
            written=significant,
            chosen=gan.chosen_round,
            height=150,
        )
        for name in names
    ]
    return [chart for chart in charts if chart is not None]


def remarks(subject: str, rounds: Rounds, final: ImageScores | None) -> list[str]:
    """What a reader must know of this subject before reading on."""
    found = []
    sides = organs(subject)
    if sides is not None and sides[0] != sides[1]:
        found.append(
            f"{subject[:1].upper()}{subject[1:]} translates between different organs. That has no clinical meaning: "
            f"no image of a {sides[1]} can be made from a {sides[0]}."
        )
    alike = [str(r) for r, scores in rounds if scores.collapsed]
    if final is not None and final.collapsed:
        found.append(
            f"Collapsed on {subject}: more than one pair in ten of its slices is strikingly alike. Whatever the other "
            "figures say, it makes few different images."
        )
    elif alike:
        which = f"{plural(len(alike), 'round')} of {len(rounds)}"
        found.append(
            f"On {subject}, more than one pair in ten was strikingly alike in {which}, the last in round {alike[-1]}."
        )
    return found


def organs(subject: str) -> tuple[str, str] | None:
    """The organs of a translation's two sides; None if the name is no translation's.

    >>> organs("brain t1 to lung ct"), organs("brain")
    (('brain', 'lung'), None)
    """
    source, between, target = subject.partition(" to ")
    if not between or not source.split() or not target.split():
        return None
    return source.split()[0], target.split()[0]
