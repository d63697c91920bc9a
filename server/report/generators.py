"""One GAN's part of the study report: final scores, the images as a set, curves over rounds, figures, pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from common.report.charts import Chart, Series, line_chart
from common.report.formatting import RATIO, duration, plural, significant
from common.report.tables import Cell, Table, number, word
from common.results import GanResult, Scores, SiteEntry
from server.report.distribution import distribution_table
from server.report.gallery import ReferenceGallery
from server.report.kinds import KINDS
from server.report.kinds.kind import Column, Kind, Rounds
from server.report.participation import Participation, exchange_in_words, participation


@dataclass(frozen=True)
class SubjectPart:
    """What is shown of one GAN on one subject; ``rounds`` is None without a scored round."""

    name: str
    curves: Sequence[Chart]
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
        distribution: the final images as a set; None likewise.
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
    distribution: Table | None = None
    subjects: Sequence[SubjectPart] = ()


def gan_part(
    name: str, gan: GanResult, sites: Mapping[str, SiteEntry], galleries: Sequence[ReferenceGallery]
) -> GanPart:
    """Everything that the page shows of one GAN; of a kind of score that it does not know, only the training."""
    kind = KINDS.get(gan.score)
    part = GanPart(
        title=f"{name}: {kind.title}" if kind else f"{name}, scored by {gan.score}",
        exchange=exchange_in_words(gan),
        participation=participation(gan, sites),
        losses=loss_curves(gan),
        finished=len(gan.rounds),
        chosen="No round has been chosen."
        if gan.chosen_round is None
        else f"Round {gan.chosen_round} was chosen on the selection part of the reference set.",
    )
    if kind is None:
        return part
    subjects = scored_subjects(gan)
    shown = [*subjects, *sorted({gallery.subject for gallery in galleries} - set(subjects))]
    scored = {subject: scored_rounds(gan, subject) for subject in shown}
    final = {subject: gan.final[subject] for subject in subjects if subject in gan.final}
    which = "The chosen round" if gan.chosen_round is None else f"Round {gan.chosen_round}"
    return replace(
        part,
        about=kind.about,
        remarks=[text for s in subjects for text in kind.remarks(s, scored[s], gan.final.get(s))],
        final=kind.final_table(final, which) if final else None,
        distribution=distribution_table(kind, final) if final else None,
        subjects=[
            SubjectPart(
                subject,
                curves(kind, scored[subject], gan.chosen_round),
                rounds_table(kind, gan, subject) if scored[subject] else None,
                [gallery for gallery in galleries if gallery.subject == subject],
            )
            for subject in shown
        ],
    )


def scored_subjects(gan: GanResult) -> list[str]:
    """What its rounds or its chosen round were scored on."""
    return sorted({subject for r in gan.rounds for subject in r.scores} | set(gan.final))


def scored_rounds(gan: GanResult, subject: str) -> Rounds[Any]:
    """The scores of every round on one subject."""
    return [(r.round, r.scores[subject]) for r in gan.rounds if subject in r.scores]


def curves(kind: Kind[Any, Any], rounds: Rounds[Any], chosen: int | None) -> list[Chart]:
    """The kind's charts over the rounds, each with the floor it is to be read against."""
    charts = [
        line_chart(panel.title, panel.series, x_title="round", written=panel.written, chosen=chosen)
        for panel in (kind.panels(rounds) if rounds else [])
    ]
    return [chart for chart in charts if chart is not None]


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


def rounds_table(kind: Kind[Any, Any], gan: GanResult, subject: str) -> Table:
    """Every score of every round on one subject, which has at least one."""
    rounds = scored_rounds(gan, subject)
    seconds = {r.round: r.seconds for r in gan.rounds}
    first: Scores = rounds[0][1]
    columns = [*kind.columns(), *_frechet_columns(kind, first)]
    rows = [
        [
            word(f"{server_round}, chosen" if server_round == gan.chosen_round else str(server_round)),
            *(column.cell(scores) for column in columns),
            number(duration(seconds[server_round])),
        ]
        for server_round, scores in rounds
    ]
    caption = (
        f"Scores on the selection part of the reference set, {subject} ({plural(first.slices, 'slice')} of "
        f"{plural(first.patients, 'patient')}). SSIM without a unit, PSNR in dB; {kind.beside}; "
        f"{first.frechet.name}, real against real: between two real samples of that n; normalised: 0 at real against "
        "real, 1 where blurred real slices lie."
    )
    groups = [(group, len(list(some))) for group, some in groupby(column.group for column in columns)]
    return Table(caption, ["round", *(c.title for c in columns), "duration"], rows, [("", 1), *groups, ("", 1)])


def _frechet_columns(kind: Kind[Any, Any], first: Scores) -> list[Column[Any]]:
    """The Fréchet distance, what it is to be read against, and n."""

    def beside(name: str) -> Callable[[Scores], Cell]:
        return lambda scores: number(significant(dict(kind.distances_beside(scores))[name]))

    group = "Fréchet distance"
    return [
        Column(group, "value", lambda s: number(significant(s.frechet.value))),
        Column(group, "real against real", lambda s: number(significant(s.frechet.floor))),
        *(Column(group, name, beside(name)) for name, _ in kind.distances_beside(first)),
        Column(group, "normalised", lambda s: number(RATIO.number(s.frechet.normalised))),
        Column(group, "n", lambda s: number(s.frechet.n)),
    ]
