"""A fabricated study, clearly not a result of anything: shapes, curves and scores are drawn from a fixed seed."""

import numpy as np
from classifier_scores import between, classifier_scores
from fabricated_generators import TRAINING, cgan, cyclegan, wgan_gp

from common.figures.figure import Figure
from common.metrics.bootstrap import Estimate
from common.results.classifier import ClassifierScores, Confusion, CrossSite
from common.results.study import Results, RunInfo, SiteEntry
from common.study.experiment import ARMS

SITES = (*TRAINING, "external")


def fabricated_arm(random: np.random.Generator, mean: float, patients: int, steps: int | None) -> ClassifierScores:
    def interval(centre: float, width: float) -> Estimate:
        centre = float(np.clip(centre, 0.05, 0.985))
        low, high = centre - width * random.uniform(0.8, 1.2), centre + width * random.uniform(0.6, 1.0)
        return between(centre, low, min(high, 0.999))

    slices = patients * 24
    positive = int(slices * 0.4)
    hits, alarms = int(positive * (mean - 0.03)), int((slices - positive) * (1 - mean))
    width = 0.28 / patients**0.5
    return classifier_scores(
        accuracy=interval(mean, width),
        precision=interval(mean - 0.02, width * 1.3),
        recall=interval(mean - 0.03, width * 1.4),
        f1=interval(mean - 0.025, width * 1.2),
        auc=interval(mean + 0.06, width * 0.8),
        sensitivity=interval(mean - 0.1, width * 1.4),
        brier=interval(1 - mean, width),
        calibration_error=0.081,
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


def fabricated_results() -> Results:
    random = np.random.default_rng(5)
    centres = {"real": 0.842, "real_synthetic": 0.868, "synthetic": 0.851, "copy_paste": 0.858, "blob": 0.872}
    centres["local_generator"] = 0.861
    arms: dict[str, dict[str, ClassifierScores]] = {
        "federated": {arm: fabricated_arm(random, centres[arm] + 0.03, 60, 200) for arm in ARMS}
    }
    for index, site in enumerate(TRAINING):
        arms[site] = {arm: fabricated_arm(random, centres[arm] - 0.02 * index, 20, 200) for arm in ARMS}
    models = [*TRAINING, "federated"]
    auc: list[list[Figure | None]] = [
        [
            Figure(metric="auc", value=m, low=m - 0.07, high=min(0.999, m + 0.05))
            for m in np.clip(0.94 - 0.09 * (i != j) - 0.05 * (j == 3) + random.normal(0, 0.02, 4), 0.5, 0.99).tolist()
            for _ in [0]
        ][: len(SITES)]
        for i in range(len(models))
        for j in [i]
    ]
    auc[1][3] = None
    accuracy = [
        [
            None
            if c is None or c.value is None
            else Figure(metric="accuracy", value=c.value - 0.08, low=c.value - 0.16, high=c.value)
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
        gans={"cgan": cgan(), "wgan_gp": wgan_gp(), "cyclegan": cyclegan()},
        arms=arms,
        cross_site=CrossSite(
            models=models,
            sites=list(SITES),
            figures={"auc": auc, "accuracy": accuracy},
        ),
        timings={"hello": 3.1, "gan": 152.4, "synthesis": 11.9, "arms": 88.0, "classifier": 131.2, "cross_site": 9.7},
    )
