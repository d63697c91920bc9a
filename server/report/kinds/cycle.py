"""A translation between two domains: against the target as a set, there and back, and against the truth if known."""

from collections.abc import Mapping, Sequence

from common.report.charts import Series
from common.report.formatting import DECIBEL, MISSING, SIMILARITY, Scale, listed, significant
from common.report.tables import Cell, Table, figure, number, word
from common.results import CycleScores, FinalCycle
from server.report.kinds.kind import (
    Column,
    Kind,
    Panel,
    Rounds,
    at_subject,
    blank,
    counts,
    figure_column,
    frechet_panel,
    gain_in_words,
)
from server.report.kinds.target import target_columns, target_panels

_RETURN = (("cycle SSIM", "cycle_ssim", SIMILARITY), ("cycle PSNR, dB", "cycle_psnr", DECIBEL))


def organs(subject: str) -> tuple[str, str] | None:
    """The organs of a translation's two sides; None if the name is no translation's.

    >>> organs("brain t1 to lung ct"), organs("brain")
    (('brain', 'lung'), None)
    """
    source, between, target = subject.partition(" to ")
    if not between or not source.split() or not target.split():
        return None
    return source.split()[0], target.split()[0]


class Cycle(Kind[CycleScores, FinalCycle]):
    title = "slices translated from one domain to another"
    about = (
        "No site needs both domains. A translated slice is compared, as one of a set, with real slices of the target; "
        "and translated back it should be the slice it was. A generator that changes nothing returns perfectly, so "
        "the distance to the target beside that of unchanged slices is what counts."
    )
    similarity = "the whole slice translated there and back, against itself"
    lead = "Translated slices of the reference set"
    beside = "unchanged: slices that were not translated"

    def similarity_of(self, scores: CycleScores | FinalCycle) -> tuple[float, float]:
        return scores.cycle_ssim, scores.cycle_psnr

    def panels(self, rounds: Rounds[CycleScores]) -> list[Panel]:
        there = [(r, s.translation) for r, s in rounds if s.translation is not None]
        back = [
            Panel(
                f"{title}, whole, foreground",
                [
                    Series("whole", [(r, getattr(s, key)) for r, s in rounds]),
                    Series("foreground", [(r, getattr(s, f"foreground_{key}")) for r, s in rounds]),
                ],
                scale.number,
            )
            for title, key, scale in _RETURN
        ]
        return [frechet_panel(rounds, ("unchanged", lambda s: s.unchanged_frechet)), *target_panels(there), *back]

    def columns(self) -> Sequence[Column[CycleScores]]:
        back = [
            figure_column(group, title, scale, prefix + key)
            for group, key, scale in _RETURN
            for title, prefix in (("whole", ""), ("foreground", "foreground_"))
        ]
        return [*back, *target_columns()]

    def final_table(self, finals: Mapping[str, FinalCycle], which: str) -> Table:
        rows = [row for subject, final in finals.items() for row in _final_rows(subject, final, finals)]
        caption = (
            f"{which} on the final part of the reference set, scored once. There and back: the slice returned, against "
            "itself, with a 95% interval over patients. To the target: the translated slice against the same "
            "patient's real one, where the reference set holds both; unchanged: the same without translation. Gain: "
            "translated minus unchanged, paired over patients."
        )
        columns = [
            "where",
            *("SSIM, there and back", "PSNR, there and back"),
            *("SSIM to the target", "unchanged", "PSNR to the target", "unchanged", "gain"),
            *("slices", "patients"),
        ]
        return Table(caption, columns, rows)

    def clause(self, which: str, subject: str, final: FinalCycle) -> str:
        distance = final.frechet
        said = (
            f"{which} took {subject} to an {distance.name} of {significant(distance.value)} from real slices of the "
            f"target, where unchanged slices lie at {significant(final.unchanged_frechet)} and real ones of other "
            f"patients at {significant(distance.floor)} (n = {distance.n})"
        )
        if final.foreground_psnr_gain is None:
            return said
        gain = gain_in_words(final.foreground_psnr_gain, "unchanged slices")
        return f"{said}, and PSNR to the real target, in the foreground: {gain}"

    def in_short(self, which: str, finals: Mapping[str, FinalCycle]) -> str:
        nearer = [s for s, final in finals.items() if final.frechet.value < final.unchanged_frechet]
        figures = listed(
            f"{subject} ({significant(final.frechet.value)} against {significant(final.unchanged_frechet)})"
            for subject, final in finals.items()
        )
        name = next(iter(finals.values())).frechet.name
        return (
            f"{which} brought {len(nearer)} of {len(finals)} translations nearer to their target than unchanged slices "
            f"are, by {name}: {figures}"
        )

    def closing(self, final: FinalCycle) -> str:
        distance = final.frechet
        return (
            f"{distance.name} {significant(distance.value)}, unchanged {significant(final.unchanged_frechet)}, "
            f"real against real {significant(distance.floor)}"
        )

    def remarks(self, subject: str, rounds: Rounds[CycleScores], final: FinalCycle | None) -> list[str]:
        sides = organs(subject)
        if sides is None or sides[0] == sides[1]:
            return []
        return [
            f"{subject[:1].upper()}{subject[1:]} translates between different organs. That has no clinical meaning: "
            f"no image of a {sides[1]} can be made from a {sides[0]}."
        ]

    def distances_beside(self, scores: CycleScores | FinalCycle) -> list[tuple[str, float]]:
        return [("unchanged", scores.unchanged_frechet)]


def _final_rows(subject: str, final: FinalCycle, finals: Mapping[str, FinalCycle]) -> list[list[Cell]]:
    """The whole slice and its foreground."""
    truth = final.translation

    def to_target(key: str, scale: Scale) -> Cell:
        return number(scale.text(getattr(truth, key)) if truth else MISSING)

    gain = figure(final.foreground_psnr_gain, DECIBEL.signed) if truth else number(None)
    return [
        [
            word(at_subject(subject, "foreground", finals)),
            number(SIMILARITY.text(final.foreground_cycle_ssim)),
            number(DECIBEL.text(final.foreground_cycle_psnr)),
            to_target("foreground_ssim", SIMILARITY),
            to_target("unchanged_foreground_ssim", SIMILARITY),
            to_target("foreground_psnr", DECIBEL),
            to_target("unchanged_foreground_psnr", DECIBEL),
            gain,
            *counts(final),
        ],
        [
            word(at_subject(subject, "whole image", finals)),
            figure(final.cycle_ssim_interval, SIMILARITY),
            number(DECIBEL.text(final.cycle_psnr)),
            to_target("ssim", SIMILARITY),
            to_target("unchanged_ssim", SIMILARITY),
            to_target("psnr", DECIBEL),
            to_target("unchanged_psnr", DECIBEL),
            *blank(3),
        ],
    ]
