"""``oncofed-simulation compare``: what differs between runs, and what came of it, side by side."""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.errors import ConfigError
from common.figures.formatting import MISSING, Scale, duration, moment
from common.figures.metric import Metric
from common.figures.registry import REFERENCES
from common.metrics.bootstrap import Estimate
from common.report.arms import arm_title, in_order, scope_title
from common.results.study import Results
from common.study.dotted_keys import flat
from common.system.outside import line, say, say_json
from common.system.safe_yaml import read_yaml
from server.made_with import THEN
from server.report.build import read_results
from server.report.contributors import trained_by
from server.report.overview import final_runs

SHOWN = ("accuracy", "auc")
"""Figures of an arm that are printed; the others are in the JSON."""

_NAME = "name"
"""The configuration's key that differs between any two runs and says nothing."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        label: the folder as it was given.
        config: resolved configuration, by flat key (``strategy.name``).
        results: what it found, as far as it got.
    """

    label: str
    config: Mapping[str, Any]
    results: Results


@dataclass(frozen=True)
class Row:
    """One line: what it is, its value in each run that has one, and how that is written."""

    name: str
    values: Mapping[str, Any]
    written: Callable[[Any], str]
    shown: bool = True


def compare_command(folders: Sequence[Path], *, as_json: bool) -> None:
    """Prints the comparison of two runs or more.

    Raises:
        ConfigError: if there are fewer than two, one is given twice, or a folder is no run.
        ReportError: if a run has no results that can be read.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise ConfigError("give two different runs or more, e.g. oncofed-simulation compare runs/demo runs/demo-2")
    runs = [read_run(folder) for folder in folders]
    if as_json:
        say_json(as_tree(runs), indent=1)
    else:
        say(*as_text(runs).split("\n"))


def read_run(folder: Path) -> ComparedRun:
    """The configuration and results of a run.

    Raises:
        ConfigError: if the folder is no run, or its configuration cannot be read.
        ReportError: if its results cannot be read.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{folder}: there is no run (no {file.name} in it); give the folder of one, e.g. runs/latest")
    try:
        tree = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: holds no configuration; it was changed, or is of something else")
    return ComparedRun(str(folder), flat(tree), read_results(folder / "results.json"))


def differences(runs: Sequence[ComparedRun]) -> list[Row]:
    """The keys that are not alike in all runs, with the value of each run that has the key."""
    rows = []
    for key in sorted({key for run in runs for key in run.config} - {_NAME}):
        values = {run.label: run.config[key] for run in runs if key in run.config}
        first = next(iter(values.values()))
        if len(values) < len(runs) or any(value != first for value in values.values()):
            rows.append(Row(key, values, _plain))
    return rows


def versions(runs: Sequence[ComparedRun]) -> list[Row]:
    """What the runs were made with, where that differs, or changed within one of them; a run that does not say it is
    told apart too, and so are runs of which none does."""
    by_run = {run.label: run.results.run.versions for run in runs}
    rows = []
    for name in dict.fromkeys(name for told in by_run.values() for name in told) or ("oncofed",):
        values = {label: told[name] for label, told in by_run.items() if name in told}
        if len(values) < len(runs) or len(set(values.values())) > 1 or any(THEN in one for one in values.values()):
            rows.append(Row(name, values, str))
    return rows


def generators(runs: Sequence[ComparedRun]) -> list[Row]:
    """The final figures of every GAN on every subject: means over its trainings."""
    return _side_by_side(runs, _generator_figures)


def arms(runs: Sequence[ComparedRun]) -> list[Row]:
    """Every score of every arm, with its interval."""
    return _side_by_side(runs, _arm_figures)


def contributors(runs: Sequence[ComparedRun]) -> list[Row]:
    """Whose updates counted in a training, where that is not the same in all runs: their figures are of other sites."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for what, who in dict.fromkeys((what, who) for what, who, _ in trained_by(run.results)):
            by_run = found.setdefault(what, {})
            by_run[run.label] = f"{by_run[run.label]}; {who}" if run.label in by_run else who
    return [Row(what, by_run, str) for what, by_run in found.items() if len(set(by_run.values())) > 1]


def durations(runs: Sequence[ComparedRun]) -> list[Row]:
    """Seconds by phase, and in all."""
    rows = _side_by_side(runs, _seconds)
    totals = {run.label: sum(run.results.timings.values()) for run in runs if run.results.timings}
    return [*rows, Row("in all", totals, duration)] if rows else []


def as_tree(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """The comparison as JSON has it: by figure, then by run; a run that has no such figure or key is not there."""
    return {
        "runs": {
            run.label: {
                "name": run.results.run.name,
                "started": run.results.run.started,
                "finished": run.results.run.finished,
            }
            for run in runs
        },
        **{title: {row.name: dict(row.values) for row in part(runs)} for title, part in _PARTS.items()},
    }


def as_text(runs: Sequence[ComparedRun]) -> str:
    """The comparison for a terminal: one line a figure, one column a run."""
    labels = [run.label for run in runs]
    states = {
        run.label: moment(run.results.run.finished) if run.results.run.finished else "not finished" for run in runs
    }
    parts = {"runs": [Row("", {label: label for label in labels}, str), Row("finished", states, str)]}
    parts |= {title: [row for row in part(runs) if row.shown] for title, part in _PARTS.items()}
    lines = [row for rows in parts.values() for row in rows]
    name_width = max(len(row.name) for row in lines)
    cells = {id(row): [_cell(row, label) for label in labels] for row in lines}
    widths = [max(len(cells[id(row)][column]) for row in lines) for column in range(len(labels))]

    def line(row: Row) -> str:
        columns = " | ".join(cell.ljust(width) for cell, width in zip(cells[id(row)], widths, strict=True))
        return f"  {row.name.ljust(name_width)}  {columns}".rstrip()

    blocks = []
    for title, rows in parts.items():
        blocks.append("\n".join([_TITLES[title], *(map(line, rows) if rows else [f"  {_NOTHING[title]}"])]))
    return "\n\n".join(blocks)


_PARTS: dict[str, Callable[[Sequence[ComparedRun]], list[Row]]] = {
    "configuration": differences,
    "versions": versions,
    "generators": generators,
    "arms": arms,
    "contributors": contributors,
    "durations": durations,
}
_TITLES = {
    "runs": "runs",
    "configuration": "configuration, where it differs",
    "versions": "versions, where they differ: they alone may make other figures of one configuration",
    "generators": "generators on the final part of the reference set",
    "arms": "classifier on test patients, with 95% intervals over patients",
    "contributors": "sites that trained it, where they differ: such figures are not to be compared",
    "durations": "duration",
}
_NOTHING = {
    "configuration": "the same in all runs",
    "versions": "the same in all runs",
    "generators": "no final scores",
    "arms": "no arm was scored",
    "contributors": "the same in all runs",
    "durations": "none was recorded",
}

Figures = Iterator[tuple[str, Any, Callable[[Any], str], bool]]
"""Name, value, how it is written, and whether it is printed."""


def _generator_figures(results: Results) -> Figures:
    for name, gan in results.gans.items():
        runs = final_runs(gan)
        for subject in gan.final:
            finals = [run.final[subject] for run in runs if subject in run.final]
            of = f"{name}, {subject}: "
            for figure in finals[0].values():
                found = [one for final in finals if (one := final.get(figure.key)) is not None]
                yield f"{of}{figure.name}", _mean(one.value for one in found), figure.of.text, True
                for reference in figure.references:
                    level = _mean(one.references.get(reference) for one in found)
                    yield f"{of}{figure.name}, {REFERENCES[reference]}", level, figure.of.text, reference == "real"
                if figure.of.kind == "set":
                    yield f"{of}{figure.name}, n", figure.n, str, True
            yield f"{of}trainings", len(finals), str, len(finals) > 1


def _mean(values: Iterable[float | None]) -> float | None:
    """Over trainings; None where it is undefined in one of them."""
    known = list(values)
    return None if None in known else statistics.fmean(value for value in known if value is not None)


def _arm_figures(results: Results) -> Figures:
    organs = {f"in federation, {organ}": scores for organ, scores in results.organ_arms.items()}
    federated = {scope: scores for scope, scores in results.arms.items() if scope == "federated"}
    for scope, scores in {**federated, **organs, **results.arms}.items():
        for arm, its in in_order(scores):
            for one in its.values():
                if one.value is not None:
                    label = f"{scope_title(scope)}, {arm_title(arm)}: {one.name}"
                    told = {"value": one.value, "low": one.low, "high": one.high}
                    yield label, told, _interval(one.of), one.metric in SHOWN


def _interval(metric: Metric) -> Callable[[Any], str]:
    scale = metric.scale or Scale(1, 3)
    return lambda told: scale.interval(Estimate(**told))


def _seconds(results: Results) -> Figures:
    for phase, seconds in results.timings.items():
        yield phase.replace("_", " "), seconds, duration, True


def _side_by_side(runs: Sequence[ComparedRun], figures_of: Callable[[Results], Figures]) -> list[Row]:
    """One row a figure that any run has, in the order in which they first come."""
    rows: dict[str, tuple[dict[str, Any], Callable[[Any], str], bool]] = {}
    for run in runs:
        for name, value, written, shown in figures_of(run.results):
            values, _, before = rows.get(name, ({}, written, False))
            rows[name] = ({**values, run.label: value}, written, shown or before)
    return [Row(name, values, written, shown) for name, (values, written, shown) in rows.items()]


def _cell(row: Row, label: str) -> str:
    return row.written(row.values[label]).replace("\N{NO-BREAK SPACE}", " ") if label in row.values else MISSING


def _plain(value: Any) -> str:
    """A value of the configuration as YAML writes it."""
    return line(value if isinstance(value, str) else json.dumps(value, default=str))
