"""All generators in one table, laid out as the source study's: similarity and distance over trainings with different
seeds, and how stable these were."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.figures.figure import ImageScores
from common.figures.formatting import DECIBEL, PERCENT, RATIO, SIMILARITY, listed, significant
from common.report.tables import Cell, Table, number, prose, word
from common.results.study import GanResult, GanRun
from server.report.protocols import PROTOCOLS

TOLERATED = 2
"""A last round is called worse than the chosen one if its Fréchet distance is larger by more than this many floors."""


@dataclass(frozen=True)
class Spread:
    """A figure over trainings with different seeds; ``deviation`` is the sample's, None for a single training."""

    mean: float
    deviation: float | None
    runs: int

    @property
    def relative(self) -> float | None:
        """The standard deviation as a share of the mean; None where either says nothing."""
        return self.deviation / abs(self.mean) if self.deviation is not None and self.mean else None


@dataclass(frozen=True)
class OverRuns:
    """The final figures of one GAN on one subject over its trainings.

    Attributes:
        similarity: whose SSIM and PSNR these are.
        ssim, psnr: by the kind of score; PSNR in dB.
        frechet, floor: the distance and that of real images of other patients.
        normalised: None if any run has none.
        name, n: of the Fréchet distance.
    """

    similarity: str
    ssim: Spread
    psnr: Spread
    frechet: Spread
    floor: Spread
    normalised: Spread | None
    name: str
    n: int


def spread(values: Sequence[float]) -> Spread:
    """
    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, deviation=1.0, runs=3)
    >>> spread([1.0])
    Spread(mean=1.0, deviation=None, runs=1)
    """
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def final_runs(gan: GanResult) -> list[GanRun]:
    """The runs whose chosen round was scored."""
    return [run for run in gan.runs if run.final] or (
        [GanRun(run=1, rounds=len(gan.rounds), chosen_round=gan.chosen_round, final=gan.final)] if gan.final else []
    )


def over_runs(gan: GanResult) -> dict[str, OverRuns]:
    """Mean and standard deviation over the runs, by subject."""
    runs = final_runs(gan)
    return {
        subject: _over([run.final[subject] for run in runs if subject in run.final])
        for subject in sorted({subject for run in runs for subject in run.final})
    }


def _over(finals: Sequence[ImageScores]) -> OverRuns:
    protocol = PROTOCOLS[finals[0].protocol]
    ssim, psnr = protocol.similarity
    distance = finals[0]["frechet"]
    return OverRuns(
        similarity=protocol.similarity_of,
        ssim=_spread_of(finals, ssim),
        psnr=_spread_of(finals, psnr),
        frechet=_spread_of(finals, ("frechet",)),
        floor=spread([_known(final["frechet"].references["real"]) for final in finals]),
        normalised=_spread_of(finals, ("frechet_normalised",))
        if all(final["frechet_normalised"].value is not None for final in finals)
        else None,
        name=distance.name,
        n=distance.n or 0,
    )


def _spread_of(finals: Sequence[ImageScores], key: tuple[str, ...]) -> Spread:
    return spread([_known(final[key].value) for final in finals])


def _known(value: float | None) -> float:
    assert value is not None  # of a scored generator these figures are always defined
    return value


def overview_table(gans: Mapping[str, GanResult]) -> Table | None:
    """One row a GAN and subject; None if no GAN has final scores."""
    rows: list[list[Cell]] = []
    names: set[str] = set()
    for name, gan in gans.items():
        for subject, one in over_runs(gan).items():
            names.add(one.name)
            rows.append(
                [
                    word(name),
                    word(subject),
                    _cell(one.ssim, SIMILARITY.number),
                    _cell(one.psnr, DECIBEL.number),
                    _cell(one.frechet, significant),
                    number(significant(one.floor.mean)),
                    _cell(one.normalised, RATIO.number),
                    number(one.n),
                    number(one.ssim.runs),
                    prose(one.similarity),
                ]
            )
    if not rows:
        return None
    caption = (
        "Every generator on the final part of the reference set, in the columns of the source study's table of SSIM, "
        f"PSNR and Fréchet distance (here {listed(sorted(names))}): mean over trainings with different seeds, and ± "
        "their standard deviation. SSIM and PSNR of different kinds of generator measure different things (last "
        "column) and cannot be compared across them."
    )
    columns = ["generator", "of", "SSIM", "PSNR, dB", "distance", "real", "normalised", "n", "runs", "SSIM and PSNR of"]
    return Table(caption, columns, rows)


def _cell(value: Spread | None, written: Any) -> Cell:
    if value is None:
        return number(None)
    small = f"(± {written(value.deviation)})" if value.deviation is not None else ""
    return Cell(written(value.mean), small, "number")


def stability(gan: GanResult) -> str:
    """How a GAN's figures differ between its trainings, whether one collapsed, and whether the end was worse."""
    found = over_runs(gan)
    if not found:
        return "No chosen round was scored, so nothing can be said of its stability."
    runs = len(final_runs(gan))
    if runs == 1:
        parts = ["One run: the spread over seeds was not measured."]
    else:
        each = listed(
            f"SSIM by {_percent(one.ssim)} and {one.name} by {_percent(one.frechet)}"
            + (f" ({subject})" if len(found) > 1 else "")
            for subject, one in found.items()
        )
        parts = [
            f"Over {runs} runs with different seeds, as a standard deviation in percent of the mean, varied {each}."
        ]
    return " ".join([*parts, *_collapses(gan), *_at_the_end(gan)])


def _percent(value: Spread) -> str:
    return PERCENT.text(value.relative)


def _collapses(gan: GanResult) -> list[str]:
    runs = final_runs(gan)
    finals = [(run.run, subject, one) for run in runs for subject, one in run.final.items()]
    if not any(one.get("ms_ssim") for _, _, one in finals):
        return []
    fallen = [f"run {run} on {subject}" for run, subject, one in finals if one.collapsed]
    if fallen:
        return [f"Collapsed: {listed(fallen)}."]
    return ["It had not collapsed." if len(runs) == 1 else "No run had collapsed."]


def _at_the_end(gan: GanResult) -> list[str]:
    """Whether training went astray after the chosen round; a loss that is not finite never gets into the results."""
    chosen = next((r for r in gan.rounds if r.round == gan.chosen_round), None)
    if chosen is None:
        return []
    last = gan.rounds[-1]
    if last.round == chosen.round:
        return ["The last round is the chosen one."]
    worse = []
    for subject, scores in last.scores.items():
        if subject not in chosen.scores:
            continue
        distance = chosen.scores[subject]["frechet"]
        before, after, real = _known(distance.value), _known(scores["frechet"].value), distance.references["real"]
        if after - before > TOLERATED * _known(real):
            worse.append(f"from {significant(before)} to {significant(after)} ({subject}, real {significant(real)})")
    rounds = f"from the chosen round {chosen.round} to the last, {last.round}"
    if worse:
        return [f"Training diverged {rounds}: {last_name(gan)} rose {listed(worse)}."]
    return [f"No divergence {rounds}: {last_name(gan)} did not rise by more than twice that of real slices."]


def last_name(gan: GanResult) -> str:
    """What the Fréchet distance of its last round is called."""
    return next(iter(gan.rounds[-1].scores.values()))["frechet"].name if gan.rounds[-1].scores else "the distance"


def generators_json(gans: Mapping[str, GanResult]) -> dict[str, Any]:
    """What ``generators.json`` holds: the table's figures at full precision, and the sentence on stability."""
    return {
        name: {
            "protocol": gan.protocol,
            "runs": len(final_runs(gan)),
            "subjects": {subject: asdict(one) for subject, one in over_runs(gan).items()},
            "relative_deviation": {
                subject: {"ssim": one.ssim.relative, "frechet": one.frechet.relative}
                for subject, one in over_runs(gan).items()
            },
            "stability": stability(gan),
        }
        for name, gan in gans.items()
    }
