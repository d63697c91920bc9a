"""A fabricated study, clearly not a result of anything: shapes, curves and scores are drawn from a fixed seed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.experiment import ARMS
from common.results import (
    ArmScores,
    Confusion,
    CrossSite,
    FinalPaired,
    Frechet,
    GanResult,
    GanRound,
    Interval,
    PairedScores,
    Refusal,
    Results,
    RunInfo,
    SiteEntry,
)

TRAINING = ("hospital1", "hospital2", "hospital3")
SITES = (*TRAINING, "external")


def fabricated_arm(random: np.random.Generator, mean: float, patients: int, steps: int | None) -> ArmScores:
    def interval(centre: float, width: float) -> Interval:
        centre = float(np.clip(centre, 0.05, 0.985))
        low, high = centre - width * random.uniform(0.8, 1.2), centre + width * random.uniform(0.6, 1.0)
        return Interval(mean=centre, low=low, high=min(high, 0.999))

    slices = patients * 24
    positive = int(slices * 0.4)
    hits, alarms = int(positive * (mean - 0.03)), int((slices - positive) * (1 - mean))
    width = 0.28 / patients**0.5
    return ArmScores(
        accuracy=interval(mean, width),
        precision=interval(mean - 0.02, width * 1.3),
        recall=interval(mean - 0.03, width * 1.4),
        f1=interval(mean - 0.025, width * 1.2),
        auc=interval(mean + 0.06, width * 0.8),
        patients=patients,
        slices=slices,
        confusion=Confusion(
            true_positive=hits,
            false_positive=alarms,
            true_negative=slices - positive - alarms,
            false_negative=positive - hits,
        ),
        steps=steps,
    )


def fabricated_round(number: int, random: np.random.Generator) -> GanRound:
    grown = 1 - 0.75**number
    refused = [Refusal(site="hospital3", reason="its update's norm is above the bound")] if number == 3 else []
    contributors = [
        s for s in TRAINING if not (number == 3 and s == "hospital3") and not (number == 5 and s == "hospital2")
    ]
    scores = PairedScores(
        ssim=0.951 + 0.03 * grown,
        psnr=30.2 + 3.1 * grown + random.normal(0, 0.08),
        foreground_ssim=0.862 + 0.07 * grown,
        foreground_psnr=25.4 + 2.8 * grown,
        lesion_ssim=0.412 + 0.21 * grown + random.normal(0, 0.006),
        lesion_psnr=17.3 + 3.4 * grown + random.normal(0, 0.08),
        floor_lesion_ssim=0.486,
        floor_lesion_psnr=18.9,
        slices=96,
        patients=11,
        frechet=Frechet(name="FD-EffLite0", value=31.0 - 17 * grown, n=48, floor=8.4),
    )
    return GanRound(
        round=number,
        scores={"brain": scores},
        contributors=contributors,
        refused=refused,
        losses={
            "discriminator": 0.62 - 0.1 * grown,
            "generator.adversarial": 0.71 + 0.15 * grown,
            "generator.l1": 0.121 * (1 - 0.6 * grown),
            "generator.perceptual": 0.83 * (1 - 0.4 * grown),
        },
        seconds=24.8 + random.normal(0, 0.7),
    )


def fabricated_results() -> Results:
    random = np.random.default_rng(5)
    rounds = [fabricated_round(number, random) for number in range(1, 7)]
    best = rounds[-1].scores["brain"].model_dump()
    scores = {key: best[key] for key in FinalPaired.model_fields if key in best} | {"patients": 12, "slices": 92}
    centres = {"real": 0.842, "real_synthetic": 0.868, "synthetic": 0.851, "copy_paste": 0.858, "blob": 0.872}
    arms: dict[str, dict[str, ArmScores]] = {
        "federated": {arm: fabricated_arm(random, centres[arm] + 0.03, 60, 200) for arm in ARMS}
    }
    for index, site in enumerate(TRAINING):
        arms[site] = {arm: fabricated_arm(random, centres[arm] - 0.02 * index, 20, 200) for arm in ARMS}
    models = [*TRAINING, "federated"]
    auc: list[list[Interval | None]] = [
        [
            Interval(mean=m, low=m - 0.07, high=min(0.999, m + 0.05))
            for m in np.clip(0.94 - 0.09 * (i != j) - 0.05 * (j == 3) + random.normal(0, 0.02, 4), 0.5, 0.99).tolist()
            for _ in [0]
        ][: len(SITES)]
        for i in range(len(models))
        for j in [i]
    ]
    auc[1][3] = None
    accuracy = [
        [
            None if c is None or c.mean is None else Interval(mean=c.mean - 0.08, low=c.mean - 0.16, high=c.mean)
            for c in row
        ]
        for row in auc
    ]
    return Results(
        run=RunInfo(
            name="fabricated",
            seed=1,
            engine="in_process",
            started="2000-01-01 10:00",
            finished="2000-01-01 10:11",
            demo_cohort=True,
            versions={"oncofed": "0.1.0", "torch": "0.0.0", "flwr": "0.0.0", "python": "3.11"},
            config={"seed": 1, "image": {"size": 64}, "federation": {"rounds": 6}},
        ),
        sites={
            "hospital1": SiteEntry(
                organ="brain",
                modality="MR",
                contrasts=["flair"],
                patients=30,
                slices=712,
                quarantined=1,
                roles=["train", "evaluate"],
            ),
            "hospital2": SiteEntry(
                organ="brain",
                modality="MR",
                contrasts=["flair"],
                patients=30,
                slices=705,
                quarantined=0,
                roles=["train", "evaluate"],
            ),
            "hospital3": SiteEntry(
                organ="brain",
                modality="MR",
                contrasts=["flair"],
                roles=["train", "evaluate"],
                notes=["does not declare its counts"],
            ),
            "external": SiteEntry(
                organ="brain",
                modality="MR",
                contrasts=["flair"],
                patients=20,
                slices=480,
                quarantined=0,
                roles=["evaluate"],
                notes=["takes no part in training"],
            ),
        },
        gans={
            "cgan": GanResult(
                family="cgan",
                exchange="average",
                score="paired",
                chosen_round=6,
                rounds=rounds,
                final={
                    "brain": FinalPaired(
                        **scores,
                        lesion_ssim_gain=Interval(mean=0.118, low=0.081, high=0.152),
                        lesion_psnr_gain=Interval(mean=1.34, low=0.62, high=2.07),
                    )
                },
            )
        },
        arms=arms,
        cross_site=CrossSite(
            models=models,
            sites=list(SITES),
            auc=[[c and c.mean for c in row] for row in auc],
            accuracy=[[c and c.mean for c in row] for row in accuracy],
            auc_interval=auc,
            accuracy_interval=accuracy,
        ),
        timings={"hello": 3.1, "gan": 152.4, "synthesis": 11.9, "arms": 88.0, "classifier": 131.2, "cross_site": 9.7},
    )


def fabricated_gallery(count: int = 8, size: int = 64, rounds: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    """Discs with a brighter disc in them."""
    random = np.random.default_rng(2)
    y, x = np.mgrid[:size, :size] / size - 0.5
    targets, blanked, generated, flat, labels = [], [], [], [], []
    for _ in range(count):
        head = (x / 0.38) ** 2 + (y / 0.46) ** 2 < 1
        tissue = 0.42 + 0.1 * np.sin(14 * x + random.uniform(0, 6)) * np.cos(11 * y + random.uniform(0, 6))
        cx, cy, r = random.uniform(-0.15, 0.15), random.uniform(-0.2, 0.2), random.uniform(0.06, 0.12)
        wobble = r * (1 + 0.25 * np.sin(3 * np.arctan2(y - cy, x - cx) + random.uniform(0, 6)))
        distance = np.hypot(x - cx, y - cy)
        lesion = distance < wobble
        region = distance < 1.25 * r
        image = np.where(head, tissue + random.normal(0, 0.02, x.shape), 0)
        image = np.where(lesion, image + 0.35, image)
        targets.append(image)
        blanked.append(np.where(region, 0, image))
        generated.append(np.where(region, np.where(lesion, 0.76, 0.44) + random.normal(0, 0.03, x.shape), image))
        flat.append(np.where(region, 0.45, image))
        labels.append(np.where(lesion, np.where(distance < 0.5 * wobble, 1, 2), 0))
    made = np.clip(np.stack(generated), 0, 1)
    smooth = np.clip(np.stack(flat), 0, 1)
    shares = np.linspace(0.3, 1, rounds)[:, None, None, None]
    return {
        "target": np.clip(np.stack(targets), 0, 1).astype(np.float32),
        "blanked": np.clip(np.stack(blanked), 0, 1).astype(np.float32),
        "generated": made.astype(np.float32),
        "biharmonic": smooth.astype(np.float32),
        "labels": np.stack(labels).astype(np.uint8),
        "rule": np.array(["best", "median", "worst", *["evenly spread"] * (count - 3)]),
        "lesion_ssim": np.linspace(0.81, 0.31, count),
        "floor_lesion_ssim": np.linspace(0.62, 0.30, count),
        "by_round": (shares * made + (1 - shares) * smooth).astype(np.float16),
        "rounds": np.arange(1, rounds + 1),
    }


@pytest.fixture(scope="session")
def results() -> Results:
    return fabricated_results()


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run's folder: ``write_study(results, gallery=True)``."""

    def write(results: Results, *, gallery: bool = False) -> Path:
        run = tmp_path / "run"
        (run / "reference" / "cgan").mkdir(parents=True)
        (run / "results.json").write_text(results.model_dump_json(by_alias=True))
        if gallery:
            np.savez_compressed(run / "reference" / "cgan" / "brain.npz", allow_pickle=False, **fabricated_gallery())
        Image.fromarray(np.tile(np.arange(0, 250, dtype=np.uint8), (40, 8))).save(run / "cohort_sheet.png")
        return run

    return write


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[Path, int], Any]:
    """``measure(page, width)``: what a real Chromium says of the page."""
    path = Path(__file__).parents[2] / "common" / "report" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", path)
    assert spec is not None
    assert spec.loader is not None
    browser = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(browser)

    def measured(page: Path, width: int) -> Any:
        folder = tmp_path / f"browser{width}"
        folder.mkdir()
        return browser.measure(page, width, folder)

    return measured
