"""A generator's figures as charts and tables, whichever they are: nothing here knows a metric by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.figures.figure import Figure, ImageScores
from common.figures.formatting import plural
from common.figures.metric import Metric
from common.figures.registry import METRICS, REFERENCES
from common.report.charts import Chart, Series, line_chart
from common.report.figures import figure_cell
from common.report.tables import Cell, Table, number, prose, word
from server.report.protocols import PROTOCOLS

Rounds = Sequence[tuple[int, ImageScores]]
"""The scores of one subject with their round's number."""


@dataclass(frozen=True)
class Curves:
    """Charts over the rounds: those that say most, and all others."""

    first: Sequence[Chart]
    further: Sequence[Chart]


def references_cell(figure: Figure) -> Cell:
    """What it is to be read against."""
    return prose("; ".join(f"{REFERENCES[key]} {figure.of.text(value)}" for key, value in figure.references.items()))


def final_table(finals: Mapping[str, ImageScores], which: str) -> Table:
    """Every figure of the chosen round on the final part; ``which`` names the round."""
    several = len(finals) > 1
    rows = [
        [
            *([word(subject)] if several else []),
            word(figure.name),
            figure_cell(figure),
            references_cell(figure),
            figure_cell(_gain(scores, figure)),
            number(figure.n),
            number(figure.patients if figure.patients is not None else scores.patients),
        ]
        for subject, scores in finals.items()
        for figure in scores.values()
    ]
    subsets = {one.conditions["subset_size"] for scores in finals.values() for one in scores.values() if _subsets(one)}
    caption = (
        f"{which} on the final part of the reference set, scored once. Intervals of 95% and differences from what a "
        "figure is compared with, which are paired, are over patients, or over slices that belong to nobody. Lower is "
        "better for distances."
    )
    if subsets:
        caption += f" ±: standard deviation over subsets of {' or '.join(map(str, sorted(subsets)))} images."
    columns = [*(["subject"] if several else []), "figure", "value", "compare with", "difference", "images", "patients"]
    return Table(caption, columns, rows)


def _subsets(figure: Figure) -> bool:
    return "subset_size" in figure.conditions


def _gain(scores: ImageScores, figure: Figure) -> Figure | None:
    return next((one for one in scores.figures if one.against and one.key[:2] == figure.key[:2]), None)


def rounds_table(rounds: Rounds, seconds: Mapping[int, str], chosen: int | None, subject: str) -> Table:
    """Every figure of every round on one subject, of which there is at least one."""
    first = rounds[0][1]
    figures = [one.key for one in first.values()]
    groups: list[tuple[str, int]] = [("", 1)]
    columns, rows = ["round"], [[word(f"{r}, chosen" if r == chosen else str(r))] for r, _ in rounds]
    for key in figures:
        references = list(first[key].references)
        groups.append((_titled(first[key]), 1 + len(references)))
        columns += ["generated", *(REFERENCES[name] for name in references)]
        for row, (_, scores) in zip(rows, rounds, strict=True):
            one = scores.get(key)
            of = METRICS[key[0]]
            row.append(number(of.number(one.value if one else None)))
            row += [number(of.number(one.references.get(name) if one else None)) for name in references]
    for row, (r, _) in zip(rows, rounds, strict=True):
        row.append(number(seconds[r]))
    caption = (
        f"Scores on the selection part of the reference set, {subject} ({plural(first.slices or 0, 'slice')} of "
        f"{plural(first.patients or 0, 'patient')})."
    )
    return Table(caption, [*columns, "duration"], rows, [*groups, ("", 1)])


def curves(rounds: Rounds, chosen: int | None) -> Curves:
    """One chart a figure, with dotted lines for what it is to be read against."""
    if not rounds:
        return Curves([], [])
    telling = [(*name, "") for name in PROTOCOLS[rounds[0][1].protocol].charts]
    keys = list(dict.fromkeys(one.key for _, scores in rounds for one in scores.values()))
    ordered = [key for key in telling if key in keys] + [key for key in keys if key not in telling]
    charts = [(key in telling, chart) for key in ordered if (chart := _chart(rounds, key, chosen)) is not None]
    return Curves([chart for first, chart in charts if first], [chart for first, chart in charts if not first])


def _chart(rounds: Rounds, key: tuple[str, str, str], chosen: int | None) -> Chart | None:
    found = [(r, one) for r, scores in rounds if (one := scores.get(key)) is not None and one.value is not None]
    if not found:
        return None
    names = dict.fromkeys(name for _, one in found for name in one.references)
    series = [Series("generated", [(r, one.value) for r, one in found if one.value is not None])]
    for name in names:
        points = [(r, level) for r, one in found if (level := one.references.get(name)) is not None]
        if points:
            series.append(Series(REFERENCES[name], points, floor=True))
    of = METRICS[key[0]]
    scaled = _scaled(series, of)
    return line_chart(_titled(found[0][1]), scaled, x_title="round", written=_written(of), chosen=chosen)


def _scaled(series: Sequence[Series], of: Metric) -> list[Series]:
    factor = of.scale.factor if of.scale else 1
    if factor == 1:
        return list(series)
    return [Series(one.name, [(x, y * factor) for x, y in one.points], floor=one.floor) for one in series]


def _written(of: Metric) -> Any:
    factor = of.scale.factor if of.scale else 1
    return lambda value: of.number(value / factor)


def _titled(figure: Figure) -> str:
    """Its name and unit, and the n that a distance depends on."""
    unit = f", {figure.of.unit}" if figure.of.unit else ""
    n = f", n = {figure.n}" if figure.of.kind == "set" and figure.n is not None else ""
    return f"{figure.name}{unit}{n}"
