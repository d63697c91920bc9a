"""What came of the runs of a sweep, as tables."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.figures.registry import REFERENCES
from common.report.tables import write_csv
from common.results.study import Results
from common.system.files import write_bytes
from simulation.sweep_axes import SEED, titled
from simulation.sweep_plot import draw_sweep


@dataclass(frozen=True)
class Outcome:
    """One run of a sweep: what differs in it, and what came of it.

    Attributes:
        number: its folder.
        values: by key.
        figures: by name; none where it failed.
        failed: why; empty where it did not.
        versions: what it was made with, by package.
    """

    number: str
    values: Mapping[str, str]
    figures: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What differs in it, for a person."""
        return titled(self.values)


def figures_of(results: Results) -> dict[str, float]:
    """The figures of a run that a sweep compares, by name."""
    figures: dict[str, float] = {}
    for model, gan in results.gans.items():
        for subject, final in gan.final.items():
            for figure in final.values():
                if figure.value is not None:
                    figures[f"{model}, {subject}: {figure.name}"] = figure.value
            for reference, level in final["frechet"].references.items():
                if level is not None:
                    figures[f"{model}, {subject}: {final['frechet'].name}, {REFERENCES[reference]}"] = level
        before = gan.runs[0].pretrained if gan.runs else None
        for subject, scores in (before or {}).items():
            distance = scores["frechet"]
            if distance.value is not None:
                figures[f"{model}, {subject}: {distance.name} before the first round"] = distance.value
    for arm, one in results.arms.get("federated", {}).items():
        for metric in ("accuracy", "auc"):
            value = one.value(metric)
            if value is not None:
                figures[f"classifier, {arm}: {metric}"] = value
    for gain in results.gains:
        found = gain.gain("accuracy")
        if found is not None and found.value is not None:
            figures[f"gain in accuracy, {gain.scope}, {gain.arm}"] = found.value
    if results.privacy is not None and results.privacy.sites:
        figures["epsilon, largest of a site"] = max(one.epsilon for one in results.privacy.sites.values())
        sigmas = [m.sigma for one in results.privacy.sites.values() for m in one.mechanisms]
        if sigmas:
            figures["sigma, largest of a site"] = max(sigmas)
    return figures


def versions_apart(outcomes: Sequence[Outcome]) -> list[str]:
    """The packages whose version is not the same in all runs that have figures: a sweep may go on after an update."""
    of_runs = [one.versions for one in outcomes if not one.failed]
    names = dict.fromkeys(name for one in of_runs for name in one)
    return [name for name in names if len({one.get(name, "") for one in of_runs}) > 1]


def summarised(keys: Sequence[str], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of every figure, for each combination of the other values.

    A combination of which no run has a figure has one row, which says how many failed.

    Args:
        keys: what varied.
        outcomes: of the runs so far.
    """
    kept = [key for key in keys if key != SEED]
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault(tuple(one.values[key] for key in kept), []).append(one)
    rows: list[dict[str, Any]] = []
    for values, group in groups.items():
        failed = sum(bool(one.failed) for one in group)
        for figure in dict.fromkeys(name for one in group for name in one.figures) or [""]:
            found = [one.figures[figure] for one in group if figure in one.figures]
            rows.append(
                {
                    **dict(zip(kept, values, strict=True)),
                    "figure": figure,
                    "mean": statistics.fmean(found) if found else None,
                    "deviation": statistics.stdev(found) if len(found) > 1 else None,
                    "runs": len(found),
                    "failed": failed,
                }
            )
    return rows


def write_tables(folder: Path, keys: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """``sweep.csv``, ``summary.csv``, ``summary.json`` and ``sweep.png`` of the runs so far.

    Args:
        folder: of the sweep.
        keys: what varied.
        outcomes: one or more.
    """
    names = list(dict.fromkeys(name for one in outcomes for name in one.figures))
    apart = versions_apart(outcomes)
    lines = [
        {
            "run": one.number,
            **one.values,
            **{name: one.figures.get(name) for name in names},
            **{f"version of {name}": one.versions.get(name, "") for name in apart},
            "failed": one.failed,
        }
        for one in outcomes
    ]
    write_csv(folder / "sweep.csv", list(lines[0]), lines)
    rows = summarised(keys, outcomes)
    write_csv(folder / "summary.csv", list(rows[0]), rows)
    write_bytes(folder / "summary.json", json.dumps(rows, indent=1).encode())
    draw_sweep([key for key in keys if key != SEED], rows, folder / "sweep.png")
