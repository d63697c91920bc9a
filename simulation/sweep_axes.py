"""What varies in a sweep, and the runs that come of it."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import ConfigError
from common.study.config import to_yaml
from common.study.experiment import Experiment
from simulation.run import checked

SEED = "seed"
EPSILON = "privacy.epsilon"
NONE = "none"


@dataclass(frozen=True)
class Axis:
    """One key and the values that it takes in turn."""

    key: str
    values: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The key as tables name it: without the signs by which Hydra adds one."""
        return _plain(self.key)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        number: its folder.
        values: what differs in it, by :attr:`Axis.shown`.
        overrides: that make it.
        experiment: what they mean, checked; its name and place are not yet the sweep's.
    """

    number: str
    values: Mapping[str, str]
    overrides: tuple[str, ...]
    experiment: Experiment

    @property
    def title(self) -> str:
        """What differs in it, for a person."""
        return titled(self.values)

    @property
    def digest(self) -> str:
        """Of all that decides its figures; where it is kept does not."""
        return hashlib.sha256(to_yaml(_unplaced(self.experiment)).encode()).hexdigest()

    def placed(self, folder: Path) -> Experiment:
        """The experiment with its place in a sweep."""
        simulation = replace(self.experiment.simulation, runs_dir=str(folder.parent))
        return replace(self.experiment, name=folder.name, simulation=simulation)


def titled(values: Mapping[str, str]) -> str:
    """What differs in a run, for a person."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def split_axes(overrides: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """What is fixed, and what varies.

    Raises:
        ConfigError: if nothing varies, or a key that varies is given again after it.

    >>> split_axes(["preset=demo", "seed=1,2", "model=[cgan,wgan_gp]"])
    (['preset=demo', 'model=[cgan,wgan_gp]'], [Axis(key='seed', values=('1', '2'))])
    """
    fixed: list[str] = []
    axes: list[Axis] = []
    for override in overrides:
        key, separator, value = override.partition("=")
        values = _top_level(value)
        # As in a run the last one counts; after several values it would leave nothing to vary, or mix two lists.
        if _plain(key) in {axis.shown for axis in axes}:
            raise ConfigError(f"{_plain(key)}: is given again after several values; give all its values at once")
        if separator and len(values) > 1:
            axes.append(Axis(key, tuple(values)))
        else:
            fixed.append(override)
    if not axes:
        raise ConfigError("nothing varies: give one key several values, e.g. privacy.epsilon=3,8,none or seed=1,2,3")
    return fixed, axes


def planned_runs(fixed: Sequence[str], axes: Sequence[Axis]) -> tuple[list[PlannedRun], Path]:
    """Every combination in the order in which they run, and the folder below which sweeps lie.

    Raises:
        ConfigError, DataError: if one of them cannot run, or two are the same study: one run would count as two.
    """
    runs: list[PlannedRun] = []
    known: dict[str, PlannedRun] = {}
    for index, values in enumerate(_product(axes), start=1):
        overrides = overrides_of(fixed, values)
        shown = {_plain(key): value for key, value in values.items()}
        run = PlannedRun(f"{index:03d}", shown, tuple(overrides), checked(overrides))
        twin = known.setdefault(run.digest, run)
        if twin is not run:
            raise ConfigError(
                f"{twin.title} and {run.title}: are the same study, which would count as two; leave one of them out"
            )
        runs.append(run)
    return runs, Path(runs[0].experiment.simulation.runs_dir)


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


def _product(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Seeds outermost: after each round over the other axes a whole seed is there."""
    order = sorted(range(len(axes)), key=lambda index: axes[index].key != SEED)
    for values in itertools.product(*(axes[index].values for index in order)):
        yield {axis.key: values[order.index(index)] for index, axis in enumerate(axes)}


def _unplaced(experiment: Experiment) -> Experiment:
    return replace(experiment, name="", simulation=replace(experiment.simulation, runs_dir="", cache_dir=""))


def _plain(key: str) -> str:
    return key.lstrip("+~")


def _top_level(text: str) -> list[str]:
    """``text`` cut at the commas outside brackets, braces and quotes, and without a backslash before them.

    >>> _top_level("[1,2],'a,b',c\\\\,d")
    ['[1,2]', "'a,b'", 'c\\\\,d']
    """
    parts, depth, quote, current, escaped = [], 0, "", "", False
    for sign in text:
        if escaped or sign == "\\":
            escaped = not escaped
        elif quote:
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
