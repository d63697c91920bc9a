"""A generator of whole slices from noise: as a set, beside the nearest real slice, and by how alike its images are."""

from collections.abc import Mapping, Sequence

from common.report.charts import Series
from common.report.formatting import DECIBEL, SIMILARITY, listed, plural, significant
from common.report.tables import Cell, Table, figure, number, word
from common.results import FinalNearest, NearestScores
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
)

_PANELS = (
    ("SSIM to the nearest real slice", "nearest_ssim", "real_nearest_ssim", SIMILARITY),
    ("MS-SSIM between pairs", "ms_ssim", "real_ms_ssim", SIMILARITY),
    ("PSNR to the nearest real slice, dB", "nearest_psnr", "real_nearest_psnr", DECIBEL),
)


class Nearest(Kind[NearestScores, FinalNearest]):
    title = "whole slices from noise"
    about = (
        "A slice made from noise has no counterpart to be compared with. It is compared with the reference slice "
        "nearest to it, beside real slices and the nearest of another patient; and all of them, as a set, with the "
        "real ones."
    )
    similarity = "a slice made from noise against the nearest real one"
    lead = "Whole slices made from noise"
    beside = "real: real slices against the nearest one of another patient, and pairs of real slices"

    def similarity_of(self, scores: NearestScores | FinalNearest) -> tuple[float, float]:
        return scores.nearest_ssim, scores.nearest_psnr

    def panels(self, rounds: Rounds[NearestScores]) -> list[Panel]:
        similar = [
            Panel(
                title,
                [
                    Series("generated", [(r, getattr(s, own)) for r, s in rounds]),
                    Series("real", [(r, getattr(s, real)) for r, s in rounds], floor=True),
                ],
                scale.number,
            )
            for title, own, real, scale in _PANELS
        ]
        return [frechet_panel(rounds, ("blurred real", lambda s: s.frechet.blurred)), *similar]

    def columns(self) -> Sequence[Column[NearestScores]]:
        pairs = (
            ("nearest SSIM", "nearest_ssim", "real_nearest_ssim", SIMILARITY),
            ("nearest PSNR, dB", "nearest_psnr", "real_nearest_psnr", DECIBEL),
            ("MS-SSIM of pairs", "ms_ssim", "real_ms_ssim", SIMILARITY),
        )
        found: list[Column[NearestScores]] = [
            figure_column(group, title, scale, key)
            for group, own, real, scale in pairs
            for title, key in (("generated", own), ("real", real))
        ]
        return [*found, Column("", "collapsed", lambda s: word("yes" if s.collapsed else "no"))]

    def final_table(self, finals: Mapping[str, FinalNearest], which: str) -> Table:
        rows: list[list[Cell]] = []
        for subject, final in finals.items():
            rows += [
                [
                    word(at_subject(subject, "generated", finals)),
                    figure(final.nearest_ssim_interval, SIMILARITY),
                    figure(final.nearest_psnr_interval, DECIBEL),
                    number(SIMILARITY.text(final.ms_ssim)),
                    word("yes" if final.collapsed else "no"),
                    *counts(final),
                ],
                [
                    word(at_subject(subject, "real", finals)),
                    number(SIMILARITY.text(final.real_nearest_ssim)),
                    number(DECIBEL.text(final.real_nearest_psnr)),
                    number(SIMILARITY.text(final.real_ms_ssim)),
                    *blank(3),
                ],
            ]
        scales = sorted({final.ms_ssim_scales for final in finals.values()})
        caption = (
            f"{which} against the final part of the reference set, scored once, with 95% intervals over generated "
            "slices. Nearest: against the nearest real slice; of real slices, the nearest one of another patient. "
            f"MS-SSIM of pairs, over {listed(map(str, scales))} scales: above that of real slices, the generated ones "
            "are more alike than people are."
        )
        columns = ["slices made", "nearest SSIM", "nearest PSNR", "MS-SSIM of pairs", "collapsed", "slices", "patients"]
        return Table(caption, columns, rows)

    def clause(self, which: str, subject: str, final: FinalNearest) -> str:
        distance = final.frechet
        said = (
            f"{which} made slices of the {subject} at an {distance.name} of {significant(distance.value)} from real "
            f"ones, where real slices of other patients lie at {significant(distance.floor)} and blurred ones at "
            f"{significant(distance.blurred)} (n = {distance.n})"
        )
        return f"{said}, and so alike that it counts as collapsed" if final.collapsed else said

    def in_short(self, which: str, finals: Mapping[str, FinalNearest]) -> str:
        one = next(iter(finals.values())).frechet.name
        figures = listed(
            f"{significant(final.frechet.value)} ({subject}; real {significant(final.frechet.floor)})"
            for subject, final in finals.items()
        )
        collapsed = [subject for subject, final in finals.items() if final.collapsed]
        said = f"{which} lies at an {one} of {figures} from real slices"
        return f"{said}, and has collapsed on {listed(collapsed)}" if collapsed else said

    def closing(self, final: FinalNearest) -> str:
        distance = final.frechet
        end = ", images nearly all alike" if final.collapsed else ""
        return f"{distance.name} {significant(distance.value)}, real against real {significant(distance.floor)}{end}"

    def remarks(self, subject: str, rounds: Rounds[NearestScores], final: FinalNearest | None) -> list[str]:
        if final is not None and final.collapsed:
            return [
                f"Collapsed on {subject}: more than one pair in ten of its slices is strikingly alike. Whatever the "
                "other figures say, it makes few different images."
            ]
        alike = [str(r) for r, scores in rounds if scores.collapsed]
        if not alike:
            return []
        which = f"{plural(len(alike), 'round')} of {len(rounds)}"
        return [
            f"On {subject}, more than one pair in ten was strikingly alike in {which}, the last in round {alike[-1]}."
        ]
