"""A fabricated hospital, clearly not a result of anything: shapes, curves and scores are drawn from a fixed seed."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, Measured
from classifier_scores import classifier_scores

from common.figures.figure import Scores
from common.metrics.bootstrap import Estimate
from common.placement import Placement
from common.results.classifier import Confusion, ReliabilityBin

CENTRES = {"real": 0.80, "real_synthetic": 0.85, "synthetic": 0.84, "copy_paste": 0.83, "blob": 0.86}


def fabricated_arm(mean: float) -> dict[str, Any]:
    def interval(centre: float, width: float = 0.06) -> Estimate:
        return Estimate(value=centre, low=centre - width, high=min(1.0, centre + 0.8 * width))

    return classifier_scores(
        accuracy=interval(mean),
        precision=interval(mean - 0.03, 0.09),
        recall=interval(mean + 0.02, 0.08),
        f1=interval(mean - 0.01, 0.07),
        auc=interval(mean + 0.07, 0.05),
        sensitivity=interval(mean - 0.1, 0.1),
        brier=interval(0.13, 0.03),
        calibration_error=0.081,
        reliability=[
            ReliabilityBin(predicted=at, positive=at**1.5, slices=60, patients=18) for at in (0.1, 0.3, 0.5, 0.7, 0.9)
        ],
        patients=20,
        slices=480,
        confusion=Confusion(true_positive=170, false_positive=41, true_negative=240, false_negative=29),
        steps=200,
    ).model_dump()


def fabricated_steps(size: int = 64) -> dict[str, np.ndarray[Any, Any]]:
    """Two steps on a ramp."""
    ramp = np.tile(np.linspace(0, 1, size), (size, 1)).astype(np.float16)
    return {
        "patient": np.array("case-0001"),
        "name": np.array(["window", "contrast stretch"]),
        "does": np.array(["-1000 to 400 HU become 0 to 1", "percentiles 1 and 99 become 0 and 1"]),
        "before": np.stack([ramp, ramp]),
        "after": np.stack([ramp, ramp.T]),
    }


def fabricated_gallery(count: int = 6, size: int = 64) -> dict[str, np.ndarray[Any, Any]]:
    """Ellipses, with a brighter blob where a lesion is meant."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:size, :size] / size - 0.5
    head = (x / 0.37) ** 2 + (y / 0.45) ** 2 < 1
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in ("real_tumour", "real_healthy", "synthetic_tumour", "synthetic_healthy", "copy_paste", "blob"):
        images, labels = [], []
        for _ in range(count):
            tissue = 0.4 + 0.1 * np.sin(15 * x + random.uniform(0, 6)) * np.cos(12 * y + random.uniform(0, 6))
            image = np.where(head, tissue + random.normal(0, 0.02, x.shape), 0)
            cx, cy = random.uniform(-0.18, 0.18, 2)
            lesion = (np.hypot(x - cx, y - cy) < random.uniform(0.07, 0.12)) & head & (not name.endswith("healthy"))
            images.append(np.clip(np.where(lesion, image + 0.35, image), 0, 1))
            labels.append(np.where(lesion, 4, 0))
        arrays[name] = np.stack(images).astype(np.float32)
        arrays[f"{name}_labels"] = np.stack(labels).astype(np.uint8)
    return arrays


def fabricated_summary() -> dict[str, Any]:
    return {
        "site": "hospital1",
        "organ": "brain",
        "modality": "MR",
        "contrasts": ["flair"],
        "run": "fabricated",
        "patients": {"train": 8, "validation": 2, "test": 20},
        "slices": {"train": 192, "validation": 48, "test": 480},
        "tumour_slices": {"train": 81, "validation": 20, "test": 199},
        "quarantine": [
            {"patient": "case-017", "reason": "mask is empty"},
            {"patient": "case-023", "reason": "flair: file is truncated"},
        ],
        "roles": ["train", "evaluate"],
        "preprocessing": {"size": 64, "contrasts": ["flair"], "bias_field": False, "window": [-2.5, 4.5]},
        "declared": {"patients": 30, "slices": 720, "quarantined": 2, "examples": None},
        "config": {"name": "fabricated", "seed": 1, "image": {"size": 64, "contrasts": ["flair"]}},
        "versions": {"oncofed": "0.1.0", "torch": "0.0.0"},
        "demo_cohort": True,
        "notes": [],
    }


def fabricated_privacy() -> dict[str, Any]:
    mechanisms = [
        {"mechanism": f"gan/cgan/{name}", "sigma": 4.0, "q": 0.08, "steps": 600, "epsilon": 2.1}
        for name in ("discriminator", "generator")
    ]
    statement = {
        "delta": 1e-5,
        "patients": 200,
        "max_grad_norm": 1.0,
        "mechanisms": mechanisms,
        "models": {"cgan": 3.17},
        "epsilon": 3.17,
        "epsilon_rdp": 3.52,
    }
    return {"statement": statement, "cap": 8.0, "spent": 5.25, "spent_prv": 4.81}


def fabricated_explanation() -> dict[str, Any]:
    def interval(centre: float, width: float = 0.08) -> Estimate:
        return Estimate(centre, centre - width, centre + width)

    looks: dict[str, Any] = {"n": 199, "patients": 16, "left_out": 7, "conditions": {"reach": 4}}
    apart: dict[str, Any] = {"n": 177, "patients": 8, "conditions": {"real": 81, "synthetic": 96}}
    sees: dict[str, Any] = {"n": 199, "patients": 16}
    figures = [
        interval(0.62).figure("attention", **looks),
        interval(0.17, 0.02).figure("attention", "chance", **looks),
        interval(0.45).figure("attention", "", "chance", **looks),
        *(interval(0.71, 0.1).figure("two_sample", part, **apart) for part in ("tumour", "healthy")),
        interval(0.08, 0.03).figure("called_tumour", "untouched", **sees),
        interval(0.09, 0.03).figure("called_tumour", "refilled", **sees),
        interval(0.01, 0.02).figure("called_tumour", "refilled", "untouched", **sees),
    ]
    return Scores(figures=figures).model_dump()


def fabricated_explanation_pictures(size: int = 64) -> dict[str, np.ndarray[Any, Any]]:
    """Slices of the fabricated gallery with a map on each lesion, and points drawn at random."""
    random = np.random.default_rng(6)
    gallery = fabricated_gallery(6, size)
    images, labels = gallery["real_tumour"], gallery["real_tumour_labels"]
    y, x = np.mgrid[:size, :size]
    maps = []
    for one in labels:
        rows, columns = np.nonzero(one)
        maps.append(np.exp(-((y - rows.mean()) ** 2 + (x - columns.mean()) ** 2) / 50))
    made = np.arange(120) % 2 == 1
    return {
        "attention_kind": np.array(["found", "found", "missed", "cleared", "false_alarm", "false_alarm"]),
        "attention_images": images.astype(np.float16),
        "attention_labels": labels,
        "attention_maps": np.stack(maps).astype(np.float16),
        "attention_probability": np.array([0.98, 0.97, 0.11, 0.02, 0.83, 0.71]),
        "attention_patient": np.array([f"case-{i:03d}" for i in range(6)]),
        "attention_slice": np.arange(6) + 9,
        "embedding_tsne": random.normal(size=(120, 2)).astype(np.float32) * 9,
        "embedding_pca": random.normal(size=(120, 2)).astype(np.float32),
        "embedding_explained": np.array([0.41, 0.13]),
        "embedding_perplexity": np.array(30.0),
        "embedding_tumour": np.arange(120) % 4 < 2,
        "embedding_synthetic": made,
        "ranked_rule": np.array(["best", "median", "worst"]),
        "ranked_images": images[:3].astype(np.float16),
        "ranked_labels": labels[:3],
        "ranked_probability": np.array([0.99, 0.8, 0.07]),
        "ranked_of": np.array(96),
    }


def fabricated_nearest() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(7)
    gallery = fabricated_gallery(2, 24)
    return {
        "made": gallery["synthetic_tumour"].astype(np.float16),
        "made_labels": gallery["synthetic_tumour_labels"],
        "real": gallery["real_tumour"].astype(np.float16),
        "real_labels": gallery["real_tumour_labels"],
        "ssim": np.array([0.64, 0.61]),
        "all_ssim": random.uniform(0.3, 0.64, 96),
        "floor_ssim": random.uniform(0.3, 0.7, 81),
        "crop": np.array(24),
    }


def fabricated_training() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for number in range(1, 7):
        losses = {"discriminator": 0.6 - 0.02 * number, "adversarial": 0.7 + 0.03 * number, "l1": 0.12 * 0.8**number}
        lines.append({"phase": "gan/cgan", "round": number, "losses": losses, "steps": 100, "seconds": 7.1})
    for arm in CENTRES:
        for number in range(1, 5):
            loss = (0.65 + 0.1 * (arm == "blob")) * (0.6 + 0.05 * len(arm) / 10) ** number
            lines.append(
                {"phase": f"classifier/{arm}", "round": number, "losses": {"loss": loss}, "steps": 50, "seconds": 1.2}
            )
        lines.append({"phase": f"arms/{arm}", "round": 0, "losses": {"loss": 0.21}, "steps": 200, "seconds": 4.4})
    return lines


def fabricated_predictions() -> list[dict[str, Any]]:
    random = np.random.default_rng(4)
    rows = []
    for scope in ("local", "federated"):
        for arm in CENTRES:
            for patient in range(20):
                hard = 1.0 if patient % 6 == 0 else 0.25
                for position in range(24):
                    truth = int(8 <= position < 18 and patient % 3 != 1)
                    wrong = random.random() < 0.4 * hard
                    centre = truth if not wrong else 1 - truth
                    probability = float(np.clip(0.5 + (centre - 0.5) * random.uniform(0.1, 1.0), 0, 1))
                    rows.append(
                        {
                            "arm": arm,
                            "scope": scope,
                            "patient": f"case-{patient:03d}",
                            "slice": position,
                            "truth": truth,
                            "probability": f"{probability:.6f}",
                        }
                    )
    return rows


@pytest.fixture
def write_site(tmp_path: Path) -> Callable[..., Path]:
    """Writes a site's folder: ``write_site(without=("arms.json",), summary={...})``; ``summary`` replaces entries."""

    def write(*, without: tuple[str, ...] = (), summary: dict[str, Any] | None = None) -> Path:
        site = tmp_path / "run" / "sites" / "hospital1"
        folder = site / "results"
        folder.mkdir(parents=True)
        scores = classifier_scores(auc=Estimate(0.91, 0.84, 0.96), accuracy=Estimate(0.82, 0.74, 0.88)).model_dump()
        files: dict[str, str] = {
            "summary.json": json.dumps(fabricated_summary() | (summary or {})),
            "training.jsonl": "".join(json.dumps(line) + "\n" for line in fabricated_training()),
            "arms.json": json.dumps({arm: fabricated_arm(CENTRES[arm]) for arm in CENTRES}),
            "federated_arms.json": json.dumps({arm: fabricated_arm(CENTRES[arm] + 0.04) for arm in CENTRES}),
            "privacy.json": json.dumps(fabricated_privacy()),
            "places.json": json.dumps({"synthetic": asdict(Placement(40, 39, 2000, 1990, 3))}),
            "cross_site.json": json.dumps(dict.fromkeys(("hospital1", "hospital2", "federated"), scores)),
        }
        for name, text in files.items():
            if name not in without:
                (folder / name).write_text(text)
        if "predictions.csv" not in without:
            rows = fabricated_predictions()
            with (folder / "predictions.csv").open("w", newline="") as out:
                writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        if "gallery.npz" not in without:
            np.savez_compressed(folder / "gallery.npz", allow_pickle=False, **fabricated_gallery())
        if "explanations" not in without:
            explanations = folder / "explanations"
            explanations.mkdir()
            for arm in ("real", "real_synthetic"):
                (explanations / f"{arm}.json").write_text(json.dumps(fabricated_explanation()))
                np.savez_compressed(
                    explanations / f"{arm}.npz", allow_pickle=False, **fabricated_explanation_pictures()
                )
            np.savez_compressed(explanations / "nearest.npz", allow_pickle=False, **fabricated_nearest())
        if "steps.npz" not in without:
            np.savez_compressed(folder / "steps.npz", allow_pickle=False, **fabricated_steps())
        return site

    return write


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Callable[[Path, int], Measured]]:
    """``measure(page, width)``: what a real Chromium says of the page."""
    with Browser.started(tmp_path) as browser:
        yield lambda page, width: browser.page(page, width=width).measured()
