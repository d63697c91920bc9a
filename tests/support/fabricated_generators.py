"""Fabricated scores and galleries of all kinds of generator, clearly not results of anything."""

from typing import Any, Literal

import numpy as np

from common.results import (
    AnyFinal,
    AnyScores,
    CycleScores,
    DistributionScores,
    FinalCycle,
    FinalNearest,
    FinalPaired,
    FinalTranslation,
    FrechetScores,
    GanResult,
    GanRound,
    GanRun,
    KernelScores,
    Manifold,
    ManifoldComparison,
    NearestScores,
    PairedScores,
    Refusal,
    Translation,
    TranslationScores,
)
from common.results_classifier import Interval

TRAINING = ("hospital1", "hospital2", "hospital3")
THERE, BACK = "brain t1 to brain t2", "brain t2 to brain t1"
LAST = 6


def distribution(value: float, setting: Literal["matched", "free"] = "matched") -> DistributionScores:
    floor, blurred = 8.4, 57.3
    share = (value - floor) / (blurred - floor)
    return DistributionScores(
        features="efficientnet_lite0",
        setting=setting,
        frechet=FrechetScores(name="FD-EffLite0", value=value, n=48, floor=floor, blurred=blurred, normalised=share),
        kernel=KernelScores(name="KD-EffLite0", value=0.11 * share, floor=0.0125, spread=0.0231, subset_size=24, n=48),
        manifold=ManifoldComparison(
            generated=Manifold(
                precision=0.71 - 0.2 * share, recall=0.52 - 0.3 * share, density=0.83 - 0.3 * share, coverage=0.44
            ),
            real=Manifold(precision=0.74, recall=0.73, density=0.97, coverage=0.81),
            k=5,
            n=48,
        ),
    )


def grown(number: int) -> float:
    """How far training has come, 0 to 1."""
    return float(1 - 0.75**number)


def paired(number: int, shift: float = 0.0) -> PairedScores:
    far, noise = grown(number), float(np.random.default_rng(number).normal(0, 0.006))
    return PairedScores(
        ssim=0.951 + 0.03 * far + shift,
        psnr=30.2 + 3.1 * far + 10 * noise,
        foreground_ssim=0.862 + 0.07 * far + shift,
        foreground_psnr=25.4 + 2.8 * far + 20 * shift,
        lesion_ssim=0.412 + 0.21 * far + noise,
        lesion_psnr=17.3 + 3.4 * far + 10 * noise,
        floor_lesion_ssim=0.486,
        floor_lesion_psnr=18.9,
        slices=96,
        patients=11,
        distribution=distribution(31.0 - 17 * far + 100 * shift),
    )


def nearest(number: int, shift: float = 0.0, *, collapsed: bool = False) -> NearestScores:
    far = grown(number)
    return NearestScores(
        nearest_ssim=0.31 + 0.24 * far + shift,
        nearest_psnr=14.2 + 5.3 * far + 20 * shift,
        foreground_nearest_ssim=0.24 + 0.21 * far + shift,
        foreground_nearest_psnr=11.6 + 4.8 * far + 20 * shift,
        real_nearest_ssim=0.583,
        real_nearest_psnr=20.6,
        real_foreground_nearest_ssim=0.507,
        real_foreground_nearest_psnr=17.9,
        ms_ssim=0.62 - 0.15 * far,
        real_ms_ssim=0.391,
        ms_ssim_scales=3,
        collapsed=collapsed or number == 1,
        slices=96,
        patients=11,
        distribution=distribution(171.0 - 122 * far + 100 * shift, "free"),
    )


def cycle(number: int, shift: float = 0.0, *, truth: bool = True) -> CycleScores:
    far = grown(number)
    return CycleScores(
        cycle_ssim=0.91 + 0.06 * far + shift,
        cycle_psnr=29.1 + 4.2 * far,
        foreground_cycle_ssim=0.84 + 0.1 * far + shift,
        foreground_cycle_psnr=24.3 + 4.6 * far,
        unchanged_frechet=52.6,
        translation=Translation(
            ssim=0.78 + 0.09 * far,
            psnr=19.3 + 4.4 * far,
            foreground_ssim=0.49 + 0.22 * far,
            foreground_psnr=13.7 + 4.9 * far,
            unchanged_ssim=0.741,
            unchanged_psnr=17.9,
            unchanged_foreground_ssim=0.461,
            unchanged_foreground_psnr=12.8,
        )
        if truth
        else None,
        slices=96,
        patients=11,
        distribution=distribution(66.0 - 41 * far + 100 * shift, "matched" if truth else "free"),
    )


def translated(number: int, *, comparable: bool = True) -> TranslationScores:
    """``comparable``: source and target have equally many contrasts."""
    far = grown(number)
    unchanged = {
        "unchanged_ssim": 0.752,
        "unchanged_psnr": 18.2,
        "unchanged_foreground_ssim": 0.473,
        "unchanged_foreground_psnr": 13.1,
        "unchanged_lesion_ssim": 0.392,
        "unchanged_lesion_psnr": 11.9,
    }
    return TranslationScores(
        translation=Translation(
            ssim=0.81 + 0.1 * far,
            psnr=20.3 + 4.1 * far,
            foreground_ssim=0.53 + 0.24 * far,
            foreground_psnr=14.2 + 5.3 * far,
            lesion_ssim=0.44 + 0.21 * far,
            lesion_psnr=13.4 + 4.2 * far,
            lesion_slices=41,
            **(unchanged if comparable else {}),
        ),
        unchanged_frechet=47.9 if comparable else None,
        slices=96,
        patients=11,
        distribution=distribution(58.0 - 37 * far),
    )


def final(scores: AnyScores) -> AnyFinal:
    """The same figures as those of a final part, with other counts and with intervals."""
    tree = scores.model_dump() | {"patients": 12, "slices": 92}

    def around(mean: float, width: float) -> Interval:
        return Interval(mean=mean, low=mean - width, high=mean + 1.1 * width)

    if isinstance(scores, PairedScores):
        gains = {"lesion_ssim_gain": around(0.118, 0.036), "lesion_psnr_gain": Interval(mean=1.34, low=0.62, high=2.07)}
        return FinalPaired(**tree, **gains)
    if isinstance(scores, NearestScores):
        return FinalNearest(
            **tree,
            nearest_ssim_interval=around(scores.nearest_ssim, 0.021),
            nearest_psnr_interval=around(scores.nearest_psnr, 0.44),
        )
    if isinstance(scores, TranslationScores):
        return FinalTranslation(
            **tree,
            foreground_ssim_interval=around(scores.translation.foreground_ssim, 0.017),
            foreground_psnr_gain=None if scores.unchanged_frechet is None else around(6.14, 0.72),
        )
    return FinalCycle(
        **tree,
        cycle_ssim_interval=around(scores.cycle_ssim, 0.008),
        foreground_psnr_gain=around(4.37, 0.81) if scores.translation else None,
    )


def gan_round(number: int, scores: dict[str, AnyScores], losses: dict[str, float]) -> GanRound:
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


def gan(family: str, exchange: str, score: str, rounds: list[GanRound], finals: list[dict[str, AnyFinal]]) -> GanResult:
    """A GAN of as many runs as there are final scores; the first one's rounds are shown and its last one is chosen."""
    return GanResult(
        family=family,
        exchange=exchange,
        score=score,
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
    finals: list[dict[str, AnyFinal]] = [
        {"brain": final(nearest(LAST, shift, collapsed=shift < 0))} for shift in (0.0, 0.0123, -0.0211)
    ]
    return gan("wgan_gp", "average", "nearest", rounds, finals)


def cyclegan() -> GanResult:
    """Three runs, both ways."""
    rounds = [
        gan_round(number, {THERE: cycle(number), BACK: cycle(number, 0.004)}, {"cycle": 0.2 * (1 - grown(number))})
        for number in range(1, LAST + 1)
    ]
    finals: list[dict[str, AnyFinal]] = [
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
    finals: list[dict[str, AnyFinal]] = [
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
