"""The one picture of a sweep: a distance of generated images and the classifier's accuracy over what varied."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from common.figures.formatting import plural
from common.system.files import write_bytes
from common.system.outside import printable

COLOURS = ("#1f5a99", "#b5542a", "#3d7d4a", "#7a4e9e", "#8a7a1f", "#4f6b73")
LONGEST_LABEL = 27
MARKS = ("o", "s", "^", "D", "v", "P")


def draw_sweep(keys: Sequence[str], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws means with standard deviations over seeds, one panel for distances and one for accuracies.

    Args:
        keys: what varied beside the seed; the first is the horizontal axis, others make lines of their own.
        rows: as :func:`simulation.sweep_table.summarised` gives them.
        path: a PNG file.
    """
    panels = [
        (title, chosen)
        for title, chosen in (
            ("Fréchet distance (final part)", [row for row in rows if _is_distance(str(row["figure"]))]),
            (
                "accuracy of the federated classifier",
                [row for row in rows if str(row["figure"]).endswith(": accuracy")],
            ),
        )
        if chosen
    ]
    figure = Figure(figsize=(5.2 * max(1, len(panels)), 4.2), layout="constrained", dpi=150)
    first = keys[0] if keys else None
    places = in_order(dict.fromkeys(str(row[first]) for row in rows)) if first else [""]
    for number, (title, chosen) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        series: dict[str, list[Mapping[str, Any]]] = {}
        for row in chosen:
            others = ", ".join(f"{key.rpartition('.')[2]} {_label(row[key])}" for key in keys[1:])
            series.setdefault(f"{row['figure']}{f' ({others})' if others else ''}", []).append(row)
        for index, (name, line) in enumerate(series.items()):
            at = [places.index(str(row[first])) if first else 0 for row in line]
            spread = [row["deviation"] or 0.0 for row in line]
            floor = ": floor of" in name
            before = "before the first round" in name
            points = sorted(zip(at, [row["mean"] for row in line], spread, strict=True))
            axes.errorbar(
                [place + 0.04 * (index - len(series) / 2) for place, _, _ in points],
                [mean for _, mean, _ in points],
                yerr=None if floor else [deviation for _, _, deviation in points],
                marker="" if floor else MARKS[index % len(MARKS)],
                linestyle=":" if floor else "--" if before else "-",
                color="#777777" if floor else COLOURS[index % len(COLOURS)],
                capsize=3,
                label=name,
            )
        axes.set_xticks(range(len(places)), [_label(place) for place in places])
        axes.set_xlabel(first or "")
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        if "distance" in title:
            axes.set_ylim(bottom=0)
    runs = sorted({int(row["runs"]) for row in rows if row["runs"]})
    told = f"mean and standard deviation over {' to '.join(map(str, runs))} seeds" if runs else "no run has ended"
    # A row stands for one figure: the failed runs of a combination are told in each of its rows.
    failed = sum({tuple(str(row[key]) for key in keys): int(row["failed"]) for row in rows}.values())
    told += f"; {plural(failed, 'run')} failed" if failed else ""
    figure.suptitle(told, fontsize=8, x=0.99, ha="right")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_bytes(path, picture.getvalue())


def in_order(values: Iterable[str]) -> list[str]:
    """Numbers from small to large with words after them; words alone as they come.

    >>> in_order(["8", "none", "3"]), in_order(["b", "a"])
    (['3', '8', 'none'], ['b', 'a'])
    """
    numbers, words = {}, []
    for value in values:
        try:
            numbers[value] = float(value)
        except ValueError:
            words.append(value)
    return [*sorted(numbers, key=lambda value: numbers[value]), *words]


def _label(value: object) -> str:
    """A value as a picture has room for it: of a long one its end, where paths differ.

    >>> _label("/data/brain/first-hospital/cleaned"), _label("0.1")
    ('…ain/first-hospital/cleaned', '0.1')
    """
    text = printable(value, 10_000)
    # Between two of these signs matplotlib would read a formula.
    return (text if len(text) <= LONGEST_LABEL else f"…{text[1 - LONGEST_LABEL :]}").replace("$", r"\$")


def _is_distance(name: str) -> bool:
    """
    >>> _is_distance("wgan_gp, brain: FD-EffLite0"), _is_distance("wgan_gp, brain: normalised FD-EffLite0")
    (True, False)
    """
    return ", " in name and ": " in name and not any(word in name for word in ("normalised", "classifier"))
