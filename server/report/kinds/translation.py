"""Other contrasts made of a slice: against the real ones of the same slice, beside the slice left as it was."""

from collections.abc import Mapping, Sequence

from common.report.formatting import DECIBEL, SIMILARITY, listed, plural
from common.report.tables import Cell, Table, figure, number, word
from common.results import FinalTranslation, TranslationScores
from server.report.kinds.kind import (
    Column,
    Kind,
    Panel,
    Rounds,
    at_subject,
    blank,
    counts,
    frechet_panel,
    gain_in_words,
)
from server.report.kinds.target import target_columns, target_panels


class Translated(Kind[TranslationScores, FinalTranslation]):
    title = "one contrast made from another of the same slice"
    about = (
        "It trains where both contrasts of a patient are held, and sees the source and the tumour's label map. A "
        "translated slice is compared with the real one in the target contrast; so is the source itself, unchanged, "
        "which shows the same anatomy and is what a translation must beat."
    )
    similarity = "the foreground of the translated slice, against the real target"
    lead = "Contrasts of the reference set made from others"
    beside = "unchanged: the source itself against the target"

    def similarity_of(self, scores: TranslationScores | FinalTranslation) -> tuple[float, float]:
        return scores.translation.foreground_ssim, scores.translation.foreground_psnr

    def panels(self, rounds: Rounds[TranslationScores]) -> list[Panel]:
        there = [(r, scores.translation) for r, scores in rounds]
        unchanged = rounds[0][1].unchanged_frechet
        # The unchanged slices do not change from round to round, and neither does their distance.
        beside = [] if unchanged is None else [("unchanged", lambda _: unchanged)]
        return [*target_panels(there), frechet_panel(rounds, *beside), *target_panels(there, "lesion")]

    def columns(self) -> Sequence[Column[TranslationScores]]:
        return [*target_columns(), *target_columns("lesion")]

    def final_table(self, finals: Mapping[str, FinalTranslation], which: str) -> Table:
        rows = [row for subject, final in finals.items() for row in _final_rows(subject, final, finals)]
        caption = (
            f"{which} on the final part of the reference set, scored once: the translated slice against the same "
            "patient's real one. Unchanged: the source against it; a dash where the two have not equally many "
            "contrasts. Lesion: the crop around it, of the slices that show one. Intervals of 95% and the gain, "
            "translated minus unchanged, are over patients."
        )
        columns = ["where", "SSIM", "unchanged", "PSNR", "unchanged", "gain", "slices", "patients"]
        return Table(caption, columns, rows)

    def clause(self, which: str, subject: str, final: FinalTranslation) -> str:
        said = (
            f"{which} took {subject} to an SSIM of {SIMILARITY.interval(final.foreground_ssim_interval)} and a PSNR of "
            f"{DECIBEL.text(final.translation.foreground_psnr)} in the foreground"
        )
        behind = (
            f"({plural(final.slices, 'slice')} of {plural(final.patients, 'patient')} that had no part in choosing it)"
        )
        if final.foreground_psnr_gain is None:
            return f"{said} {behind}; slices of another number of contrasts are no floor for it"
        return f"{said}, {gain_in_words(final.foreground_psnr_gain, 'unchanged slices')} {behind}"

    def in_short(self, which: str, finals: Mapping[str, FinalTranslation]) -> str:
        figures = listed(
            f"{subject} {SIMILARITY.interval(final.foreground_ssim_interval)}" for subject, final in finals.items()
        )
        return f"{which} reached an SSIM to the real target, in the foreground, of {figures}"

    def closing(self, final: FinalTranslation) -> str:
        one = final.translation
        return (
            f"foreground PSNR {DECIBEL.text(one.foreground_psnr)}, "
            f"unchanged {DECIBEL.text(one.unchanged_foreground_psnr)}, SSIM {SIMILARITY.text(one.foreground_ssim)}"
        )

    def distances_beside(self, scores: TranslationScores | FinalTranslation) -> list[tuple[str, float]]:
        return [] if scores.unchanged_frechet is None else [("unchanged", scores.unchanged_frechet)]


def _final_rows(subject: str, final: FinalTranslation, finals: Mapping[str, FinalTranslation]) -> list[list[Cell]]:
    """The foreground, the crop around the lesion, the whole slice."""
    one = final.translation

    def row(part: str, similar: Cell, prefix: str, gain: Cell, rest: Sequence[Cell]) -> list[Cell]:
        return [
            word(at_subject(subject, part, finals)),
            similar,
            number(SIMILARITY.text(getattr(one, f"unchanged_{prefix}ssim"))),
            number(DECIBEL.text(getattr(one, f"{prefix}psnr"))),
            number(DECIBEL.text(getattr(one, f"unchanged_{prefix}psnr"))),
            gain,
            *rest,
        ]

    empty = blank(1)[0]
    gain = figure(final.foreground_psnr_gain, DECIBEL.signed)
    return [
        row("foreground", figure(final.foreground_ssim_interval, SIMILARITY), "foreground_", gain, counts(final)),
        row("lesion", number(SIMILARITY.text(one.lesion_ssim)), "lesion_", empty, [number(one.lesion_slices), empty]),
        row("whole image", number(SIMILARITY.text(one.ssim)), "", empty, [empty, empty]),
    ]
