"""``oncofed-simulation sweep``: the same study over several values, as a table and one plot."""

import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import compose
from common.errors import ConfigError
from common.experiment_paths import require_usable_paths, with_absolute_paths
from common.files import read_json, write_bytes, write_json
from common.outside import say
from common.report.tables import write_csv
from common.results import Results
from simulation.run import run
from simulation.sweep_plot import draw_sweep

SEED = "seed"
EPSILON = "privacy.epsilon"
NONE = "none"
STATE = "sweep.json"


@dataclass(frozen=True)
class Axis:
    """One key and the values that it takes in turn."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One run of a sweep: what differs in it, and what came of it."""

    values: Mapping[str, str]
    figures: Mapping[str, float]


def sweep(overrides: Sequence[str], name: str) -> Path:
    """Runs every combination, or goes on where an earlier call stopped, and writes ``runs/<name>/``.

    The folder then holds ``sweep.csv`` (one line a run), ``summary.csv`` (mean and standard deviation over seeds),
    ``sweep.png`` and each run's own folder.

    Args:
        overrides: as for a run; a value with commas outside brackets is an axis. ``privacy.epsilon`` also takes
            ``none``: without differential privacy.
        name: of the sweep's folder; the same name with the same overrides goes on.

    Raises:
        ConfigError: if nothing varies, a value is wrong, or the name belongs to another sweep.
    """
    fixed, axes = split_axes(overrides)
    if not axes:
        raise ConfigError("nothing varies: give one key several values, e.g. privacy.epsilon=3,8,none or seed=1,2,3")
    combinations = [dict(zip([a.key for a in axes], values, strict=True)) for values in _product(axes)]
    for values in combinations:
        compose(overrides_of(fixed, values))  # a wrong value is found before the first run
    first = with_absolute_paths(compose(overrides_of(fixed, combinations[0])))
    require_usable_paths(first)
    folder = Path(first.simulation.runs_dir) / name
    _claim(folder, overrides)
    points = []
    for number, values in enumerate(combinations, start=1):
        title = ", ".join(f"{key}={value}" for key, value in values.items())
        say(f"run {number} of {len(combinations)}: {title}")
        results = _finished(folder, fixed, values)
        points.append(Point(values, figures_of(results)))
        # After each run: a sweep that is stopped has shown what it found so far.
        _write(folder, axes, points)
    say(f"table: {folder / 'summary.csv'}", f"plot: {folder / 'sweep.png'}")
    return folder


def split_axes(overrides: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """What is fixed, and what varies.

    >>> split_axes(["preset=demo", "seed=1,2", "model=[cgan,wgan_gp]"])
    (['preset=demo', 'model=[cgan,wgan_gp]'], [Axis(key='seed', values=('1', '2'))])
    """
    fixed, axes = [], []
    for override in overrides:
        key, separator, value = override.partition("=")
        values = _top_level(value)
        if separator and len(values) > 1:
            axes.append(Axis(key, tuple(values)))
        else:
            fixed.append(override)
    return fixed, axes


def _top_level(text: str) -> list[str]:
    """``text`` cut at the commas outside brackets, braces and quotes."""
    parts, depth, quote, current = [], 0, "", ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(current.strip())
            current = ""
            continue
        current += sign
    return [*parts, current.strip()]


def overrides_of(fixed: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The overrides of one run.

    >>> overrides_of(["preset=demo"], {"privacy.epsilon": "none", "seed": "2"})
    ['preset=demo', 'privacy=none', 'seed=2']
    >>> overrides_of([], {"privacy.epsilon": "3"})
    ['privacy=patient_dp', 'privacy.epsilon=3']
    """
    made = [item for item in fixed if not (item.startswith("privacy=") and EPSILON in values)]
    for key, value in values.items():
        if key == EPSILON:
            made += ["privacy=none"] if value == NONE else ["privacy=patient_dp", f"{EPSILON}={value}"]
        else:
            made.append(f"{key}={value}")
    return made


def _product(axes: Sequence[Axis]) -> Iterator[tuple[str, ...]]:
    """Seeds innermost last: after each round over the other axes a whole seed is there."""
    order = sorted(range(len(axes)), key=lambda index: axes[index].key != SEED)
    for values in itertools.product(*(axes[index].values for index in order)):
        yield tuple(values[order.index(index)] for index in range(len(axes)))


def _claim(folder: Path, overrides: Sequence[str]) -> None:
    """Makes the folder, or finds the same sweep in it.

    Raises:
        ConfigError: if another sweep or something else is there.
    """
    state = folder / STATE
    if state.exists():
        if read_json(state)["overrides"] != list(overrides):
            raise ConfigError(f"{folder}: holds another sweep; give this one another --name")
    elif folder.exists():
        raise ConfigError(f"{folder}: is there already and no sweep; give another --name")
    else:
        write_json(state, {"overrides": list(overrides)})


def _finished(folder: Path, fixed: Sequence[str], values: Mapping[str, str]) -> Results:
    """The results of one run, which is done now, resumed, or there already."""
    label = "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in f"{k}_{v}") for k, v in values.items())
    target = folder / label
    results = target / "results.json"
    if not (results.exists() and Results.model_validate_json(results.read_text()).run.finished):
        if (target / "config.yaml").exists():
            run([f"resume={target}"])
        else:
            run([*overrides_of(fixed, values), f"simulation.runs_dir={folder}", f"name={label}"])
    return Results.model_validate_json(results.read_text())


def figures_of(results: Results) -> dict[str, float]:
    """The figures of a run that a sweep compares, by name."""
    figures: dict[str, float] = {}
    for model, gan in results.gans.items():
        for subject, final in gan.final.items():
            figures[f"{model}, {subject}: {final.frechet.name}"] = final.frechet.value
            if final.frechet.normalised is not None:
                figures[f"{model}, {subject}: normalised {final.frechet.name}"] = final.frechet.normalised
            figures[f"{model}, {subject}: floor of {final.frechet.name}"] = final.frechet.floor
        before = gan.runs[0].pretrained if gan.runs else None
        for subject, scores in (before or {}).items():
            figures[f"{model}, {subject}: {scores.frechet.name} before the first round"] = scores.frechet.value
    for arm, one in results.arms.get("federated", {}).items():
        for metric in ("accuracy", "auc"):
            value = getattr(one, metric).mean
            if value is not None:
                figures[f"classifier, {arm}: {metric}"] = value
    for gain in results.gains:
        if gain.accuracy.mean is not None:
            figures[f"gain in accuracy, {gain.scope}, {gain.arm}"] = gain.accuracy.mean
    if results.privacy is not None and results.privacy.sites:
        figures["epsilon, largest of a site"] = max(one.epsilon for one in results.privacy.sites.values())
        sigmas = [m.sigma for one in results.privacy.sites.values() for m in one.mechanisms]
        if sigmas:
            figures["sigma, largest of a site"] = max(sigmas)
    return figures


def summarised(axes: Sequence[Axis], points: Sequence[Point]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of every figure, for each combination of the other values."""
    keys = [axis.key for axis in axes if axis.key != SEED]
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.values[key] for key in keys), []).append(point)
    rows = []
    for values, group in groups.items():
        for figure in dict.fromkeys(name for point in group for name in point.figures):
            found = [point.figures[figure] for point in group if figure in point.figures]
            rows.append(
                {
                    **dict(zip(keys, values, strict=True)),
                    "figure": figure,
                    "mean": statistics.fmean(found),
                    "deviation": statistics.stdev(found) if len(found) > 1 else None,
                    "runs": len(found),
                }
            )
    return rows


def _write(folder: Path, axes: Sequence[Axis], points: Sequence[Point]) -> None:
    names = list(dict.fromkeys(name for point in points for name in point.figures))
    lines = [{**point.values, **{name: point.figures.get(name) for name in names}} for point in points]
    write_csv(folder / "sweep.csv", list(lines[0]), lines)
    rows = summarised(axes, points)
    write_csv(folder / "summary.csv", list(rows[0]), rows)
    write_bytes(folder / "summary.json", json.dumps(rows, indent=1).encode())
    draw_sweep([axis.key for axis in axes if axis.key != SEED], rows, folder / "sweep.png")
