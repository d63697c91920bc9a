"""What the study report shows of one generator: curves over rounds, final scores, who took part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.report.charts import Chart, Series, line_chart
from common.report.formatting import DECIBEL, SIMILARITY, Scale, duration, plural, significant
from common.report.tables import Cell, Table, figure, number, word
from common.results import FinalPaired, GanResult, GanRound, PairedScores, SiteEntry

FLOOR = "biharmonic"


def scored_organs(gan: GanResult) -> list[str]:
    """The organs of the reference sets that the rounds were scored on."""
    return sorted({organ for r in gan.rounds for organ in r.scores})


def curves(gan: GanResult, organ: str) -> list[Chart]:
    """SSIM, PSNR and Fréchet distance over the rounds, each with the floor it is to be read against."""
    rounds = _scored(gan, organ)
    name = rounds[0][1].frechet.name if rounds else ""
    n = sorted({scores.frechet.n for _, scores in rounds})
    panels = [
        ("SSIM, lesion", ("lesion_ssim", "floor_lesion_ssim"), SIMILARITY),
        ("PSNR, lesion, dB", ("lesion_psnr", "floor_lesion_psnr"), DECIBEL),
        ("SSIM, foreground, whole", ("foreground_ssim", "ssim"), SIMILARITY),
        ("PSNR, foreground, whole, dB", ("foreground_psnr", "psnr"), DECIBEL),
    ]
    names = {"foreground_ssim": "foreground", "foreground_psnr": "foreground", "ssim": "whole", "psnr": "whole"}
    charts = [
        line_chart(
            title,
            [
                Series(
                    FLOOR if key.startswith("floor") else names.get(key, "generated"),
                    [(number, getattr(scores, key)) for number, scores in rounds],
                    floor=key.startswith("floor"),
                )
                for key in keys
            ],
            x_title="round",
            written=scale.number,
            chosen=gan.chosen_round,
        )
        for title, keys, scale in panels
    ]
    # Third, so that on a wide page the three panels that count stand in the first row.
    charts.insert(
        2,
        line_chart(
            f"{name}, n = {' to '.join(map(str, n[:: max(1, len(n) - 1)]))}",
            [
                Series("generated against real", [(number, scores.frechet.value) for number, scores in rounds]),
                Series("real against real", [(number, scores.frechet.floor) for number, scores in rounds], floor=True),
            ],
            x_title="round",
            written=significant,
            chosen=gan.chosen_round,
        ),
    )
    return [chart for chart in charts if chart is not None]


def loss_curves(gan: GanResult) -> list[Chart]:
    """One panel a loss, since each has its own scale."""
    names = sorted({name for r in gan.rounds for name in r.losses})
    charts = [
        line_chart(
            name,
            [Series(name, [(r.round, r.losses[name]) for r in gan.rounds if name in r.losses])],
            x_title="round",
            written=significant,
            chosen=gan.chosen_round,
            height=150,
        )
        for name in names
    ]
    return [chart for chart in charts if chart is not None]


def rounds_table(gan: GanResult, organ: str) -> Table:
    """Every score of every round on one organ."""
    seconds = {r.round: r.seconds for r in gan.rounds}
    rows = [
        [
            word(f"{server_round}, chosen" if server_round == gan.chosen_round else str(server_round)),
            *(number(text) for text in _similarity(scores)),
            *_frechet(scores),
            number(duration(seconds[server_round])),
        ]
        for server_round, scores in _scored(gan, organ)
    ]
    first = next((scores for _, scores in _scored(gan, organ)), None)
    behind = f"{plural(first.slices, 'slice')} of {plural(first.patients, 'patient')}" if first else "no slice"
    caption = (
        f"Scores on the selection part of the {organ}'s reference set ({behind}). SSIM without a unit, PSNR in dB; "
        "floor: the same slices filled by biharmonic inpainting; real against real: the distance between two real "
        "samples of that n."
    )
    return Table(caption, ["round", *_COLUMNS, "duration"], rows, _GROUPS)


def final_table(final: FinalPaired, organ: str, chosen: int | None) -> Table:
    """The chosen round on an organ's final part, with its paired gain."""
    rows = [
        [
            word("lesion"),
            number(SIMILARITY.text(final.lesion_ssim)),
            number(SIMILARITY.text(final.floor_lesion_ssim)),
            figure(final.lesion_ssim_gain, SIMILARITY.signed),
            number(DECIBEL.text(final.lesion_psnr)),
            number(DECIBEL.text(final.floor_lesion_psnr)),
            figure(final.lesion_psnr_gain, DECIBEL.signed),
        ],
        [
            word("foreground"),
            number(SIMILARITY.text(final.foreground_ssim)),
            *_blank(2),
            number(DECIBEL.text(final.foreground_psnr)),
            *_blank(2),
        ],
        [
            word("whole image"),
            number(SIMILARITY.text(final.ssim)),
            *_blank(2),
            number(DECIBEL.text(final.psnr)),
            *_blank(2),
        ],
    ]
    which = "Round" if chosen is None else f"Round {chosen}"
    caption = (
        f"{which} on the final part of the {organ}'s reference set, scored once: {plural(final.slices, 'slice')} of "
        f"{plural(final.patients, 'patient')}. Gain: generated minus biharmonic, paired over patients, with its 95% "
        "interval."
    )
    columns = [f"{name}{part}" for name in ("SSIM", "PSNR") for part in ("", ", biharmonic", ", gain")]
    return Table(caption, ["where", *columns], rows)


def final_frechet(final: FinalPaired) -> str:
    """The Fréchet distance on the final part with its floor and n."""
    distance = final.frechet
    return f"{significant(distance.value)}, real against real {significant(distance.floor)}, n = {distance.n}"


@dataclass(frozen=True)
class Participation:
    """Who took part in the rounds: a sentence, and a table of rounds and sites where it is worth one."""

    sentence: str
    table: Table | None


def participation(gan: GanResult, sites: Mapping[str, SiteEntry]) -> Participation:
    """Contributors, refusals and silence by round.

    A site is expected if it said at hello that it trains, or if it ever answered.
    """
    seen = {s for r in gan.rounds for s in (*r.contributors, *(refusal.site for refusal in r.refused))}
    expected = [name for name, entry in sites.items() if "train" in entry.roles or name in seen]
    expected += sorted(seen - set(expected))
    if not gan.rounds:
        return Participation("No round was finished.", None)
    if all(set(r.contributors) >= set(expected) and not r.refused for r in gan.rounds):
        sentence = (
            f"All {plural(len(expected), 'training site')} ({', '.join(expected)}) contributed to each of "
            f"{plural(len(gan.rounds), 'round')}; no reply was refused."
        )
        return Participation(sentence, None)
    missing = sum(len(set(expected) - set(r.contributors)) for r in gan.rounds)
    refused = sum(len(r.refused) for r in gan.rounds)
    sentence = (
        f"Of {len(expected) * len(gan.rounds)} expected contributions ({plural(len(expected), 'site')}, "
        f"{plural(len(gan.rounds), 'round')}), {missing} did not count: {refused} refused, "
        f"{missing - _refused_and_absent(gan.rounds)} without a reply."
    )
    rows = [[word(str(r.round)), *(word(_part(site, r)) for site in expected)] for r in gan.rounds]
    return Participation(sentence, Table("Contributions by round", ["round", *expected], rows))


def _refused_and_absent(rounds: Sequence[GanRound]) -> int:
    return sum(len({refusal.site for refusal in r.refused} - set(r.contributors)) for r in rounds)


def _part(site: str, r: GanRound) -> str:
    reasons = [refusal.reason for refusal in r.refused if refusal.site == site]
    if reasons:
        return f"refused: {'; '.join(reasons)}"
    return "yes" if site in r.contributors else "no reply"


_COLUMNS = [
    "lesion",
    "floor",
    "foreground",
    "whole",
    "lesion",
    "floor",
    "foreground",
    "whole",
    "value",
    "real against real",
    "n",
]


_GROUPS = (("", 1), ("SSIM", 4), ("PSNR, dB", 4), ("Fréchet distance", 3), ("", 1))


def _scored(gan: GanResult, organ: str) -> list[tuple[int, PairedScores]]:
    return [(r.round, r.scores[organ]) for r in gan.rounds if organ in r.scores]


def _similarity(r: PairedScores) -> list[str]:
    def four(scale: Scale, measure: str) -> list[str]:
        keys = (f"lesion_{measure}", f"floor_lesion_{measure}", f"foreground_{measure}", measure)
        return [scale.number(getattr(r, key)) for key in keys]

    return [*four(SIMILARITY, "ssim"), *four(DECIBEL, "psnr")]


def _frechet(r: PairedScores) -> list[Cell]:
    return [number(significant(r.frechet.value)), number(significant(r.frechet.floor)), number(r.frechet.n)]


def _blank(count: int) -> list[Cell]:
    return [Cell("", kind="number")] * count
