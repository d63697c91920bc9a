"""Fabricated scores and galleries of all kinds of generator, clearly not results of anything."""

from typing import Any, Literal

import numpy as np

from common.figures.figure import Figure, ImageScores
from common.results.study import GanResult, GanRound, GanRun, Refusal

TRAINING = ("hospital1", "hospital2", "hospital3")
THERE, BACK = "brain t1 to brain t2", "brain t2 to brain t1"
LAST = 6


def distribution(value: float, setting: Literal["matched", "free"] = "matched", **more: float) -> list[Figure]:
    """``more``: further references of the Fréchet distance."""
    floor, blurred = 8.4, 57.3
    share = (value - floor) / (blurred - floor)
    conditions = {"features": "efficientnet_lite0", "setting": setting}

    def of(metric: str, value: float, references: dict[str, float], **conditioned: str | float) -> Figure:
        return Figure(metric=metric, value=value, n=48, references=references, conditions={**conditions, **conditioned})

    return [
        of("frechet", value, {"real": floor, "blurred": blurred, **more}, name="FD-EffLite0"),
        of("frechet_normalised", share, {}),
        of("kernel", 0.11 * share, {"real": 0.0125}, name="KD-EffLite0", subset_size=24, subset_deviation=0.0231),
        of("manifold_precision", max(0.0, 0.71 - 0.2 * share), {"real": 0.74}, k=5),
        of("manifold_recall", max(0.0, 0.52 - 0.3 * share), {"real": 0.73}, k=5),
        of("density", max(0.0, 0.83 - 0.3 * share), {"real": 0.97}, k=5),
        of("coverage", 0.44, {"real": 0.81}, k=5),
    ]


def grown(number: int) -> float:
    """How far training has come, 0 to 1."""
    return float(1 - 0.75**number)


def scores_of(
    protocol: str,
    values: dict[tuple[str, str], tuple[float, dict[str, float]]],
    sets: list[Figure],
    *,
    collapsed: bool = False,
) -> ImageScores:
    """``values``: by metric and part, the value and what it is read against."""
    figures = [
        Figure(metric=metric, part=part, value=value, n=96, patients=11, references=references)
        for (metric, part), (value, references) in values.items()
    ]
    return ImageScores(protocol=protocol, figures=[*figures, *sets], slices=96, patients=11, collapsed=collapsed)


def paired(number: int, shift: float = 0.0) -> ImageScores:
    far, noise = grown(number), float(np.random.default_rng(number).normal(0, 0.006))
    return scores_of(
        "paired",
        {
            ("ssim", ""): (0.951 + 0.03 * far + shift, {}),
            ("psnr", ""): (30.2 + 3.1 * far + 10 * noise, {}),
            ("ssim", "foreground"): (0.862 + 0.07 * far + shift, {}),
            ("psnr", "foreground"): (25.4 + 2.8 * far + 20 * shift, {}),
            ("ssim", "lesion"): (0.412 + 0.21 * far + noise, {"biharmonic": 0.486}),
            ("psnr", "lesion"): (17.3 + 3.4 * far + 10 * noise, {"biharmonic": 18.9}),
        },
        distribution(31.0 - 17 * far + 100 * shift),
    )


def nearest(number: int, shift: float = 0.0, *, collapsed: bool = False) -> ImageScores:
    far = grown(number)
    return scores_of(
        "nearest",
        {
            ("nearest_ssim", ""): (0.31 + 0.24 * far + shift, {"real": 0.583}),
            ("nearest_psnr", ""): (14.2 + 5.3 * far + 20 * shift, {"real": 20.6}),
            ("nearest_ssim", "foreground"): (0.24 + 0.21 * far + shift, {"real": 0.507}),
            ("nearest_psnr", "foreground"): (11.6 + 4.8 * far + 20 * shift, {"real": 17.9}),
            ("ms_ssim", ""): (0.62 - 0.15 * far, {"real": 0.391}),
        },
        distribution(171.0 - 122 * far + 100 * shift, "free"),
        collapsed=collapsed or number == 1,
    )


def cycle(number: int, shift: float = 0.0, *, truth: bool = True) -> ImageScores:
    far = grown(number)
    there = {
        ("ssim", ""): (0.78 + 0.09 * far, {"unchanged": 0.741}),
        ("psnr", ""): (19.3 + 4.4 * far, {"unchanged": 17.9}),
        ("ssim", "foreground"): (0.49 + 0.22 * far, {"unchanged": 0.461}),
        ("psnr", "foreground"): (13.7 + 4.9 * far, {"unchanged": 12.8}),
    }
    return scores_of(
        "cycle",
        {
            ("cycle_ssim", ""): (0.91 + 0.06 * far + shift, {}),
            ("cycle_psnr", ""): (29.1 + 4.2 * far, {}),
            ("cycle_ssim", "foreground"): (0.84 + 0.1 * far + shift, {}),
            ("cycle_psnr", "foreground"): (24.3 + 4.6 * far, {}),
            **(there if truth else {}),
        },
        distribution(66.0 - 41 * far + 100 * shift, "matched" if truth else "free", unchanged=52.6),
    )


def translated(number: int, *, comparable: bool = True) -> ImageScores:
    """``comparable``: source and target have equally many contrasts."""
    far = grown(number)

    def beside(unchanged: float) -> dict[str, float]:
        return {"unchanged": unchanged} if comparable else {}

    return scores_of(
        "translation",
        {
            ("ssim", ""): (0.81 + 0.1 * far, beside(0.752)),
            ("psnr", ""): (20.3 + 4.1 * far, beside(18.2)),
            ("ssim", "foreground"): (0.53 + 0.24 * far, beside(0.473)),
            ("psnr", "foreground"): (14.2 + 5.3 * far, beside(13.1)),
            ("ssim", "lesion"): (0.44 + 0.21 * far, beside(0.392)),
            ("psnr", "lesion"): (13.4 + 4.2 * far, beside(11.9)),
        },
        distribution(58.0 - 37 * far, **beside(47.9)),
    )


def final(scores: ImageScores) -> ImageScores:
    """The same figures as those of a final part, with other counts and with intervals."""

    def around(value: float, width: float) -> dict[str, float]:
        return {"value": value, "low": value - width, "high": value + 1.1 * width, "standard_error": width / 2}

    widths = {
        "nearest": {("nearest_ssim", "", ""): 0.021, ("nearest_psnr", "", ""): 0.44},
        "cycle": {("cycle_ssim", "", ""): 0.008},
        "translation": {("ssim", "foreground", ""): 0.017},
    }.get(scores.protocol, {})
    gains = {
        "paired": (
            ("ssim", "lesion", "biharmonic", around(0.118, 0.036)),
            ("psnr", "lesion", "biharmonic", {"value": 1.34, "low": 0.62, "high": 2.07}),
        ),
        "cycle": (("psnr", "foreground", "unchanged", around(4.37, 0.81)),),
        "translation": (("psnr", "foreground", "unchanged", around(6.14, 0.72)),),
    }.get(scores.protocol, ())
    counts = {"n": 92, "patients": 12}
    figures = []
    for one in scores.figures:
        counted = one if one.of.kind == "set" else one.model_copy(update=counts)
        width = widths.get(one.key)
        figures.append(counted if width is None else counted.model_copy(update=around(one.value or 0.0, width)))
        figures += [
            Figure.model_validate({"metric": metric, "part": part, "against": against, **counts, **told})
            for metric, part, against, told in gains
            if (metric, part) == one.key[:2] and against in one.references
        ]
    return scores.model_copy(update={"figures": figures, "patients": 12, "slices": 92})


def change(scores: ImageScores, key: tuple[str, ...], **changes: Any) -> None:
    """Changes one figure in place."""
    old = scores[key]
    scores.figures[scores.figures.index(old)] = old.model_copy(update=changes)


def gan_round(number: int, scores: dict[str, ImageScores], losses: dict[str, float]) -> GanRound:
    """hospital3 is refused in round 3, hospital2 silent in round 5."""
    absent = {3: "hospital3", 5: "hospital2"}.get(number)
    refused = [Refusal(site="hospital3", reason="its update's norm is above the bound")] if number == 3 else []
    return GanRound(
        round=number,
        scores=scores,
        contributors=[site for site in TRAINING if site != absent],
        refused=refused,
        losses=losses,
        seconds=24.8 + 0.3 * number,
    )


def gan(
    family: str, exchange: str, score: str, rounds: list[GanRound], finals: list[dict[str, ImageScores]]
) -> GanResult:
    """A GAN of as many runs as there are final scores; the first one's rounds are shown and its last one is chosen."""
    return GanResult(
        family=family,
        exchange=exchange,
        protocol=score,
        chosen_round=LAST,
        rounds=rounds,
        final=finals[0],
        runs=[
            GanRun(run=number, rounds=LAST, chosen_round=LAST - number + 1, final=one)
            for number, one in enumerate(finals, start=1)
        ],
    )


def cgan() -> GanResult:
    """One run."""
    rounds = [
        gan_round(
            number,
            {"brain": paired(number)},
            {
                "discriminator": 0.62 - 0.1 * grown(number),
                "generator.adversarial": 0.71 + 0.15 * grown(number),
                "generator.l1": 0.121 * (1 - 0.6 * grown(number)),
            },
        )
        for number in range(1, LAST + 1)
    ]
    return gan("cgan", "average", "paired", rounds, [{"brain": final(paired(LAST))}])


def wgan_gp() -> GanResult:
    """Three runs, the last of which has collapsed."""
    rounds = [
        gan_round(number, {"brain": nearest(number)}, {"critic": -6.1 + 2 * grown(number), "penalty": 0.31})
        for number in range(1, LAST + 1)
    ]
    finals: list[dict[str, ImageScores]] = [
        {"brain": final(nearest(LAST, shift, collapsed=shift < 0))} for shift in (0.0, 0.0123, -0.0211)
    ]
    return gan("wgan_gp", "average", "nearest", rounds, finals)


def cyclegan() -> GanResult:
    """Three runs, both ways."""
    rounds = [
        gan_round(number, {THERE: cycle(number), BACK: cycle(number, 0.004)}, {"cycle": 0.2 * (1 - grown(number))})
        for number in range(1, LAST + 1)
    ]
    finals: list[dict[str, ImageScores]] = [
        {THERE: final(cycle(LAST, shift)), BACK: final(cycle(LAST, shift + 0.004))} for shift in (0.0, 0.0031, -0.0052)
    ]
    return gan("cyclegan", "gradients", "cycle", rounds, finals)


def translation(*, comparable: bool = True) -> GanResult:
    """Two runs; only the first two hospitals hold both contrasts."""
    rounds = [
        gan_round(number, {THERE: translated(number, comparable=comparable)}, {"l1": 0.2 * (1 - grown(number))})
        for number in range(1, LAST + 1)
    ]
    for one in rounds:
        one.contributors, one.refused = list(TRAINING[:2]), []
    finals: list[dict[str, ImageScores]] = [
        {THERE: final(translated(number, comparable=comparable))} for number in (LAST, LAST - 1)
    ]
    return gan("translation", "average", "translation", rounds, finals).model_copy(update={"sites": list(TRAINING[:2])})


def gallery(kind: str, subject: str, count: int = 8, size: int = 64) -> dict[str, np.ndarray[Any, Any]]:
    """Discs with a brighter disc in them, in the form of the coordinator's galleries."""
    random = np.random.default_rng(2)
    y, x = np.mgrid[:size, :size] / size - 0.5
    real, blanked, made, flat, labels = [], [], [], [], []
    for _ in range(count):
        head = (x / 0.38) ** 2 + (y / 0.46) ** 2 < 1
        tissue = 0.42 + 0.1 * np.sin(14 * x + random.uniform(0, 6)) * np.cos(11 * y + random.uniform(0, 6))
        cx, cy, r = random.uniform(-0.15, 0.15), random.uniform(-0.2, 0.2), random.uniform(0.06, 0.12)
        distance = np.hypot(x - cx, y - cy)
        lesion, region = distance < r, distance < 1.25 * r
        image = np.where(lesion, 0.35, 0) + np.where(head, tissue + random.normal(0, 0.02, x.shape), 0)
        real.append(image)
        blanked.append(np.where(region, 0, image))
        made.append(np.where(region, np.where(lesion, 0.76, 0.44) + random.normal(0, 0.03, x.shape), image))
        flat.append(np.where(region, 0.45, image))
        labels.append(np.where(lesion, np.where(distance < 0.5 * r, 1, 2), 0))
    similar = np.linspace(0.81, 0.31, count)
    inverted = [np.where(image > 0.05, 0.9 - image, 0) for image in real]
    versions = {
        "paired": {"real": real, "blanked": blanked, "generated": made, "biharmonic": flat},
        "nearest": {"generated": made, "nearest real": real},
        "cycle": {"source": real, "translated": made, "real target": inverted, "and back": flat},
        "translation": {"source": real, "translated": made, "real target": inverted},
    }[kind]
    followed = "translated" if "translated" in versions else "generated"
    figures = {
        "paired": {"lesion SSIM": similar, "biharmonic": np.linspace(0.62, 0.3, count)},
        "nearest": {"made with a tumour": np.arange(count) % 2, "SSIM to the nearest": similar},
        "cycle": {"SSIM of the foreground": similar, "unchanged": np.linspace(0.5, 0.2, count)},
        "translation": {"SSIM of the foreground": similar, "unchanged": np.linspace(0.5, 0.2, count)},
    }[kind]
    shares = np.linspace(0.3, 1, LAST)[:, None, None, None]
    course = shares * np.stack(versions[followed]) + (1 - shares) * np.stack(flat)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "about": np.array(f"Fabricated discs of a {kind} generator."),
        "versions": np.array(list(versions)),
        "images": np.stack([np.stack(images) for images in versions.values()], axis=1).clip(0, 1).astype(np.float32),
        "followed": np.array(followed),
        "last": np.array({"paired": "real", "nearest": ""}.get(kind, "real target")),
        "rule": np.array(["best", "median", "worst", *["evenly spread"] * (count - 3)]),
        "figure_names": np.array(list(figures)),
        "figures": np.stack(list(figures.values()), axis=1),
        "by_round": course.clip(0, 1).astype(np.float16),
        "rounds": np.arange(1, LAST + 1),
        "subject": np.array(subject),
    }
    return arrays | ({"labels": np.stack(labels).astype(np.uint8)} if kind in ("paired", "translation") else {})


GALLERIES = {
    "cgan": (("paired", "brain"),),
    "wgan_gp": (("nearest", "brain"),),
    "cyclegan": (("cycle", THERE), ("cycle", BACK)),
}
"""By GAN: kinds and subjects of its galleries."""
