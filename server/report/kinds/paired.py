"""A generator that redraws lesions in real slices: against the slice itself, and beside filling without learning."""

from collections.abc import Mapping, Sequence

from common.report.charts import Series
from common.report.formatting import DECIBEL, SIMILARITY, listed, plural
from common.report.tables import Table, figure, number, word
from common.results import FinalPaired, PairedScores
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

FLOOR = "biharmonic"

_PANELS = (
    ("SSIM, lesion", (("generated", "lesion_ssim"), (FLOOR, "floor_lesion_ssim")), SIMILARITY),
    ("PSNR, lesion, dB", (("generated", "lesion_psnr"), (FLOOR, "floor_lesion_psnr")), DECIBEL),
    ("SSIM, foreground, whole", (("foreground", "foreground_ssim"), ("whole", "ssim")), SIMILARITY),
    ("PSNR, foreground, whole, dB", (("foreground", "foreground_psnr"), ("whole", "psnr")), DECIBEL),
)


class Paired(Kind[PairedScores, FinalPaired]):
    title = "lesions inserted into healthy slices"
    about = (
        "A region of a slice is blanked and drawn again from its surroundings and a map of the tumour. Scored where "
        "the slice really has that tumour, so that it can be compared with the truth."
    )
    similarity = "the foreground of the slice with its lesion redrawn; surroundings are copied"
    lead = "Lesions redrawn in the reference set"
    beside = "floor: the same slices filled by biharmonic inpainting"

    def similarity_of(self, scores: PairedScores | FinalPaired) -> tuple[float, float]:
        return scores.foreground_ssim, scores.foreground_psnr

    def panels(self, rounds: Rounds[PairedScores]) -> list[Panel]:
        made = [
            Panel(
                title,
                [Series(name, [(r, getattr(s, key)) for r, s in rounds], floor=name == FLOOR) for name, key in lines],
                scale.number,
            )
            for title, lines, scale in _PANELS
        ]
        # Third, so that on a wide page the three panels that count stand in the first row.
        return [*made[:2], frechet_panel(rounds), *made[2:]]

    def columns(self) -> Sequence[Column[PairedScores]]:
        places = (("lesion", "lesion_"), ("floor", "floor_lesion_"), ("foreground", "foreground_"), ("whole", ""))
        return [
            figure_column(group, place, scale, prefix + measure)
            for group, measure, scale in (("SSIM", "ssim", SIMILARITY), ("PSNR, dB", "psnr", DECIBEL))
            for place, prefix in places
        ]

    def final_table(self, finals: Mapping[str, FinalPaired], which: str) -> Table:
        rows = []
        for subject, final in finals.items():
            rows.append(
                [
                    word(at_subject(subject, "lesion", finals)),
                    number(SIMILARITY.text(final.lesion_ssim)),
                    number(SIMILARITY.text(final.floor_lesion_ssim)),
                    figure(final.lesion_ssim_gain, SIMILARITY.signed),
                    number(DECIBEL.text(final.lesion_psnr)),
                    number(DECIBEL.text(final.floor_lesion_psnr)),
                    figure(final.lesion_psnr_gain, DECIBEL.signed),
                    *counts(final),
                ]
            )
            for part, ssim, psnr in (
                ("foreground", final.foreground_ssim, final.foreground_psnr),
                ("whole image", final.ssim, final.psnr),
            ):
                rows.append(
                    [
                        word(at_subject(subject, part, finals)),
                        number(SIMILARITY.text(ssim)),
                        *blank(2),
                        number(DECIBEL.text(psnr)),
                        *blank(4),
                    ]
                )
        caption = (
            f"{which} on the final part of the reference set, scored once. Gain: generated minus biharmonic, paired "
            "over patients, with its 95% interval."
        )
        columns = [f"{name}{part}" for name in ("SSIM", "PSNR") for part in ("", ", biharmonic", ", gain")]
        return Table(caption, ["where", *columns, "slices", "patients"], rows)

    def clause(self, which: str, subject: str, final: FinalPaired) -> str:
        return (
            f"{which} reached a PSNR of {DECIBEL.text(final.lesion_psnr)} in the {subject}, "
            f"{gain_in_words(final.lesion_psnr_gain, 'biharmonic inpainting')} ({plural(final.slices, 'slice')} of "
            f"{plural(final.patients, 'patient')} that had no part in choosing it)"
        )

    def in_short(self, which: str, finals: Mapping[str, FinalPaired]) -> str:
        better = [s for s, final in finals.items() if (final.lesion_psnr_gain.low or 0) > 0]
        rest = [s for s in finals if s not in better]
        if not better:
            return f"{which} shows no gain in PSNR over biharmonic inpainting in {listed(rest, 'or')}"
        gains = listed(f"{s} {DECIBEL.signed.interval(finals[s].lesion_psnr_gain)}" for s in better)
        said = f"{which} gained PSNR over biharmonic inpainting, with an interval above zero, in {gains}"
        return f"{said}; no gain is shown in {listed(rest, 'or')}" if rest else said

    def closing(self, final: FinalPaired) -> str:
        return f"lesion SSIM {final.lesion_ssim:.3f}, biharmonic inpainting {final.floor_lesion_ssim:.3f}"
