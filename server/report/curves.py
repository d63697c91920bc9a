"""Where synthetic images help: accuracy and AUC over the number of training patients, and over the ratio of synthetic
to real slices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from common.figures.formatting import AUC, PERCENT, Scale, listed
from common.imaging.split import part_sizes
from common.report.arms import ChartSet, arm_title
from common.report.charts import Chart, Series, line_chart
from common.report.tables import Table, number, word
from common.results.classifier import Repeated
from common.results.study import Results
from common.study.experiment import ARMS, SplitConfig
from server.report.repeated import by_arm, spread_cell
from server.report.scopes import alone, ordered, titled

MEASURES: tuple[tuple[str, str, Scale], ...] = (("accuracy", "Accuracy, %", PERCENT), ("auc", "AUC", AUC))
GAIN = "accuracy_over_real_only"

MOST_SITES = 6
"""Sites that get a panel of their own; the figures of all stand in the table and in trials.csv."""


@dataclass(frozen=True)
class Curves:
    """One quantity that the study varied: charts of the federation and what stands beside it, those of single sites,
    the table behind them, and a note on what was left out of the charts."""

    charts: list[ChartSet]
    at_sites: list[ChartSet]
    table: Table
    note: str


def learning_curves(results: Results) -> Curves | None:
    """Over the number of training patients; the fixed split stands last. None if the study did not vary it."""
    study = _study(results)
    most = study.get("most_patients")
    made = _curves(results, "patients", "patients a site, at most", str(most) if most else "all")
    return None if made is None else replace(made, note=" ".join(filter(None, (made.note, *_beyond(results)))))


def _beyond(results: Results) -> Iterator[str]:
    """Where a point of the curve asks for more patients than a site trains on: it is then of all that there are."""
    asked = sorted({int(one.value) for one in results.repeated if one.kind == "patients"})
    told = results.run.config.get("split")
    if not isinstance(told, Mapping):
        return
    split = SplitConfig(**told)
    training = {name: site for name, site in results.sites.items() if "train" in site.roles}
    fewer, silent = [], []
    for name, site in training.items():
        if site.patients is None:
            silent.append(name)
        elif (there := part_sizes(site.patients, split)[2]) < asked[-1]:
            fewer.append(f"{name} has {there}")
    if fewer:
        yield f"No site trains on more patients than it has, whatever a point asks for: {listed(fewer)} to train on."
    if silent:
        yield f"Of {listed(silent)} it is not declared how many there are."


def ratio_curves(results: Results) -> Curves | None:
    """Over synthetic slices for each real one; None if the study did not vary it."""
    ratio = _study(results).get("synthetic_ratio")
    own = f"{ratio:g}" if isinstance(ratio, int | float) else "the study's"
    return _curves(results, "ratio", "synthetic slices for each real one", own)


def _study(results: Results) -> Mapping[str, object]:
    study = results.run.config.get("study")
    return study if isinstance(study, Mapping) else {}


def _curves(results: Results, kind: str, x_title: str, fixed: str) -> Curves | None:
    varied = [one for one in results.repeated if one.kind == kind]
    if not varied:
        return None
    varied_arms = {one.arm for one in varied}
    values = _in_size({one.value for one in varied} | {fixed})
    places = {value: float(place) for place, value in enumerate(values)}
    scopes = ordered(one.scope for one in varied)
    by_scope = {scope: [*_placed(results, kind, scope, fixed)] for scope in scopes}
    sites = list(alone(dict.fromkeys(scopes)))
    labels = {place: value for value, place in places.items()}

    def charts(of: Sequence[str]) -> list[ChartSet]:
        sets = []
        for measure, title, scale in MEASURES:
            panels: list[Chart] = []
            for scope in of:
                lines = [_scaled(one, scale.factor) for one in _series(by_scope[scope], varied_arms, measure, places)]
                written = Scale(1, scale.decimals).number
                chart = line_chart(
                    titled(results, scope), lines, x_title=x_title, written=written, x_labels=labels, height=210
                )
                if chart is not None:
                    panels.append(chart)
            sets.append(ChartSet(title, panels))
        return [one for one in sets if one.panels]

    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(one.arm)),
            number(value),
            *(spread_cell(one.figures.get(measure), scale) for measure, _, scale in MEASURES),
            spread_cell(one.figures.get(GAIN), Scale(100, 1, sign=True)),
            number(max((figure.n for figure in one.figures.values()), default=None)),
        ]
        for scope in scopes
        for one, value in sorted(by_scope[scope], key=lambda item: places[item[1]])
        if (value != fixed or one.kind == "fixed") and (one.arm in varied_arms or one.arm == "real")
    ]
    caption = (
        "Scored on the fixed test patients: mean ± standard deviation over n runs; gain in accuracy over real only, in "
        "percentage points."
    )
    columns = ["trained or tested", "arm", x_title, "accuracy", "AUC", "gain", "n"]
    note = f"Charts show the first {MOST_SITES} sites; the table shows all." if len(sites) > MOST_SITES else ""
    whole = [scope for scope in scopes if scope not in sites]
    return Curves(charts(whole), charts(sites[:MOST_SITES]), Table(caption, columns, rows), note)


def _placed(results: Results, kind: str, scope: str, fixed: str) -> list[tuple[Repeated, str]]:
    """The arms of one scope with where they stand on the axis, those of the fixed split among them."""
    varied = [(one, one.value) for one in results.repeated if (one.kind, one.scope) == (kind, scope)]
    # A curve's own trial at the study's value would stand twice at one place; the fixed split has all runs.
    usual = [(one, fixed) for one in results.repeated if (one.kind, one.scope) == ("fixed", scope)]
    order = [one.arm for one in by_arm(one for one, _ in [*varied, *usual])]
    ranked = {arm: index for index, arm in enumerate(dict.fromkeys(order))}
    return sorted([*varied, *usual], key=lambda item: ranked[item[0].arm])


def _series(
    placed: Sequence[tuple[Repeated, str]], varied_arms: set[str], measure: str, places: Mapping[str, float]
) -> list[Series]:
    """A line an arm; an arm that what was varied has nothing to do with is a level across the chart."""
    ends = (min(places.values()), max(places.values()))
    series = []
    for arm in dict.fromkeys(one.arm for one, _ in placed):
        found = {
            places[value]: one.figures[measure]
            for one, value in sorted(placed, key=lambda item: item[0].kind == "fixed")
            if one.arm == arm and measure in one.figures
        }
        if arm in varied_arms:
            points = [(x, found[x].mean) for x in sorted(found)]
            bars = {x: spread.deviation for x, spread in found.items() if spread.deviation is not None}
            place = ARMS.index(arm) if arm in ARMS else None
            series.append(Series(arm_title(arm), points, deviations=bars, place=place))
        elif arm == "real" and found:
            level = next(iter(found.values())).mean
            series.append(Series(arm_title(arm), [(x, level) for x in ends], floor=True))
    return series


def _scaled(one: Series, factor: float) -> Series:
    points = [(x, y * factor) for x, y in one.points]
    bars = {x: half * factor for x, half in one.deviations.items()}
    return replace(one, points=points, deviations=bars)


def _in_size(values: set[str]) -> list[str]:
    """Numbers in ascending order, words last.

    >>> _in_size({"all", "12", "4"})
    ['4', '12', 'all']
    """

    def size(value: str) -> tuple[float, str]:
        try:
            return float(value), ""
        except ValueError:
            return float("inf"), value

    return sorted(values, key=size)
