"""Training at this site as curves, and as a table of steps and time."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.report.inputs import TrainingRecord
from common.figures.formatting import MISSING, duration, significant
from common.report.arms import ARM_TITLES
from common.report.charts import Chart, Series, line_chart
from common.report.tables import Table, number, prose, word

GROUP_TITLES = {
    "gan": "Generators, in federation",
    "classifier": "Classifiers, in federation",
    "arms": "Classifiers, at this site alone",
}


@dataclass(frozen=True)
class TrainingGroup:
    """Curves of the phases that share a first name, e.g. ``gan/...``."""

    title: str
    charts: Sequence[Chart]


def training_groups(records: Sequence[TrainingRecord]) -> list[TrainingGroup]:
    """One panel a loss, one line a phase; a group whose phases were recorded only once has no curve."""
    groups = []
    for group in dict.fromkeys(record.phase.partition("/")[0] for record in records):
        its = [record for record in records if record.phase.partition("/")[0] == group]
        charts = []
        for loss in dict.fromkeys(name for record in its for name in record.losses):
            series = _series(its, loss)
            if max((len(one.points) for one in series), default=0) < 2:
                continue
            by_round = all(record.round is not None for record in its)
            chart = line_chart(loss, series, x_title="round" if by_round else "record", written=significant, height=170)
            if chart:
                charts.append(chart)
        if charts:
            groups.append(TrainingGroup(GROUP_TITLES.get(group, group), charts))
    return groups


def training_table(records: Sequence[TrainingRecord]) -> Table:
    """One row a phase: how often it was trained, steps, time, and the losses of the last record."""
    rows = []
    for phase in dict.fromkeys(record.phase for record in records):
        its = [record for record in records if record.phase == phase]
        losses = ", ".join(f"{name} {significant(value)}" for name, value in its[-1].losses.items()) or MISSING
        rows.append(
            [
                word(_phase_title(phase)),
                number(len(its)),
                number(sum(record.steps or 0 for record in its)),
                number(duration(sum(record.seconds or 0.0 for record in its))),
                prose(losses),
            ]
        )
    return Table("Local training by phase.", ["phase", "records", "steps", "time", "last losses"], rows)


def _series(records: Sequence[TrainingRecord], loss: str) -> list[Series]:
    series = []
    for phase in dict.fromkeys(record.phase for record in records):
        its = [record for record in records if record.phase == phase]
        points = [
            (record.round if record.round is not None else index, value)
            for index, record in enumerate(its, start=1)
            if (value := record.losses.get(loss)) is not None
        ]
        name = phase.partition("/")[2] or phase
        series.append(Series(ARM_TITLES.get(name, name), points))
    return series


def _phase_title(phase: str) -> str:
    group, _, name = phase.partition("/")
    title = GROUP_TITLES.get(group, group)
    return f"{title}: {ARM_TITLES.get(name, name)}" if name else title
