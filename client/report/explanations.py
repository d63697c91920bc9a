"""What this site's classifiers look at and how they see synthetic slices, as pictures and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from client.report.explanation_inputs import Arrays, Explanations, nearest_figures
from client.report.heat import heat_picture, heat_scale
from common.figures.formatting import AUC, SIMILARITY, plural
from common.report.arms import arm_title
from common.report.charts import Chart
from common.report.explanations import apart_table, attention_table, embedding_charts, shortcut_table
from common.report.images import Picture, picture
from common.report.tables import Table

_CALLS = {
    "found": "Tumour, found",
    "missed": "Tumour, missed",
    "cleared": "Healthy, cleared",
    "false_alarm": "Healthy, called tumour",
}
_RULES = {"best": "surest", "median": "median", "worst": "least sure"}


@dataclass(frozen=True)
class Case:
    """One slice in several versions, and the words above it."""

    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Calls:
    """The surest calls of one classifier."""

    title: str
    cases: Sequence[Case]


@dataclass(frozen=True)
class ExplanationSection:
    """Finished parts; each may be empty or None where nothing was found.

    Attributes:
        attention, apart, shortcut: tables of figures, a row a classifier.
        calls: pictures of attention by classifier.
        scale: PNG data URI of the colours of the maps.
        scatters: by classifier.
        ranked, ranked_note: synthetic lesions by the probability that a classifier gave them.
        nearest, nearest_note: synthetic lesions beside the real ones that they resemble most.
        unreadable: sentences on files that could not be read.
    """

    attention: Table | None
    calls: Sequence[Calls]
    scale: str
    scatters: Sequence[Sequence[Chart]]
    apart: Table | None
    shortcut: Table | None
    ranked: Sequence[Case]
    ranked_note: str
    nearest: Sequence[Case]
    nearest_note: str
    unreadable: Sequence[str]


def explanation_section(explanations: Explanations) -> ExplanationSection | None:
    """The section; None if nothing was found, damaged files included."""
    if not explanations and not explanations.unreadable:
        return None
    arms = explanations.arms
    named = {arm_title(arm): one.figures for arm, one in arms.items()}
    # A classifier that was trained without synthetic slices is the one that they have not taught what to see.
    judge = next((arm for arm in arms if "ranked_rule" in arms[arm].pictures), None)
    nearest = explanations.nearest
    return ExplanationSection(
        attention=attention_table(named, "test slices"),
        calls=[Calls(_trained(arm), cases) for arm, one in arms.items() if (cases := _calls(one.pictures))],
        scale=heat_scale(),
        scatters=[charts for arm, one in arms.items() if (charts := embedding_charts(_trained(arm), one.pictures))],
        apart=apart_table(named),
        shortcut=shortcut_table(named, "test slices"),
        ranked=_ranked(arms[judge].pictures) if judge else [],
        ranked_note=_ranked_note(judge, arms[judge].pictures) if judge else "",
        nearest=_nearest(nearest) if "made" in nearest else [],
        nearest_note=_nearest_note(nearest) if "made" in nearest else "",
        unreadable=explanations.unreadable,
    )


def _trained(arm: str) -> str:
    return f"Trained on: {arm_title(arm)}"


def _calls(pictures: Arrays) -> list[Case]:
    """Calls in the order of ``_CALLS``, so that the same kinds stand beside each other for every classifier."""
    if "attention_kind" not in pictures:
        return []
    cases = []
    kinds = pictures["attention_kind"].tolist()
    for kind, title in _CALLS.items():
        for i in (i for i, one in enumerate(kinds) if one == kind):
            name, position = str(pictures["attention_patient"][i]), int(pictures["attention_slice"][i])
            image = pictures["attention_images"][i].astype(np.float32)
            labels = pictures["attention_labels"][i].astype(np.uint8)
            heat = pictures["attention_maps"][i].astype(np.float32)
            probability = AUC.number(float(pictures["attention_probability"][i]))
            alt = f"{title}: {name}, slice {position}"
            blank = "" if heat.any() else "; no map"
            cases.append(
                Case(
                    f"{title}, p = {probability}: {name}, slice {position}{blank}",
                    [picture(image, alt, labels=labels), heat_picture(image, heat, f"{alt}, attention", labels=labels)],
                )
            )
    return cases


def _ranked(pictures: Arrays) -> list[Case]:
    return [
        Case(
            f"{_RULES.get(str(rule), str(rule)).capitalize()}: p = {AUC.number(float(probability))}",
            [picture(image.astype(np.float32), f"Synthetic tumour, {rule}", labels=labels.astype(np.uint8))],
        )
        for rule, probability, image, labels in zip(
            pictures["ranked_rule"],
            pictures["ranked_probability"],
            pictures["ranked_images"],
            pictures["ranked_labels"],
            strict=True,
        )
    ]


def _ranked_note(arm: str, pictures: Arrays) -> str:
    those = plural(int(pictures["ranked_of"]), "synthetic tumour") if "ranked_of" in pictures else "synthetic tumours"
    trained = "real" if arm == "real" else arm_title(arm)
    return (
        f"Of {those}, those that the classifier trained on {trained} slices is surest of, the middle ones and those it "
        "is least sure of; p is its probability of a tumour. High is not better: a lesion that every classifier finds "
        "teaches it little."
    )


def _nearest(nearest: Arrays) -> list[Case]:
    def shown(key: str, i: int, label: str) -> Picture:
        labels = nearest[f"{key}_labels"][i].astype(np.uint8)
        return picture(nearest[key][i].astype(np.float32), f"{label.capitalize()} lesion {i + 1}", label, labels)

    return [
        Case(
            f"Similarity {SIMILARITY.number(float(alike))}",
            [shown("made", i, "synthetic"), shown("real", i, "nearest real")],
        )
        for i, alike in enumerate(nearest["ssim"])
    ]


def _nearest_note(nearest: Arrays) -> str:
    figures = nearest_figures(nearest) or {}
    made, floor = figures["synthetic"], figures["real_other_patient"]
    real, synthetic = plural(floor["lesions"], "real lesion"), plural(made["lesions"], "synthetic lesion")
    beside = (
        f"For {real}, each against the nearest of another patient, it is {_spread(floor)}. A synthetic lesion well "
        "above that would look like a copy."
        if floor["lesions"]
        else "There is no second patient with a lesion to compare real ones with."
    )
    return (
        f"The {plural(len(nearest['made']), 'synthetic lesion')} most like a real lesion of the training patients, by "
        f"the structural similarity (SSIM) of windows of {figures['window']} pixels a side around both. Over "
        f"{synthetic} it is {_spread(made)}. {beside} Lesions are not turned or mirrored for the search, so a copy "
        "that was would not be found."
    )


def _spread(values: dict[str, float | None]) -> str:
    """Median with the middle nine tenths."""
    median, low, high = (SIMILARITY.number(values[key]) for key in ("median", "low", "high"))
    return f"{median} (median; nine in ten between {low} and {high})"
