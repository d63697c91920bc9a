from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from common.errors import ConfigError, StudyError
from common.imaging.slices import Slices
from common.metrics.similarity import psnr
from common.study.experiment import EvaluationConfig
from common.training.kinds import TranslatingTrainer
from common.training.trainer import View
from server.evaluation.cycle import CycleEvaluation

T1, T2 = View("brain", ("t1",)), View("brain", ("t2",))


class FakeTranslator(TranslatingTrainer[Tensor]):
    """The second contrast is 0.9 minus the first, wherever there is tissue."""

    def __init__(self, rule: str = "true") -> None:
        super().__init__(device=torch.device("cpu"))
        self.domains, self.rule = (T1, T2), rule

    @classmethod
    def sides(cls, config: Any) -> tuple[View, View]:
        return T1, T2

    def translate(self, images: Tensor, source: int) -> Tensor:
        inverted = torch.where(images > 0, 0.9 - images, 0).clamp(0, 1)
        return {
            "true": inverted,
            "unchanged": images,
            "forgetful": inverted.mean((2, 3), keepdim=True).expand_as(images),
            "not finite": torch.full_like(images, torch.nan),
        }[self.rule]

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Tensor]:
        raise NotImplementedError

    def train_step(self, batch: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def paired(both_contrasts: Slices, extractor: Any) -> CycleEvaluation:
    source, target = both_contrasts.in_contrasts(["t1"]), both_contrasts.in_contrasts(["t2"])
    return CycleEvaluation(source, target, EvaluationConfig(frechet_images=40), extractor=extractor)


@pytest.fixture(scope="module")
def unpaired(both_contrasts: Slices, extractor: Any) -> CycleEvaluation:
    source, target = both_contrasts.in_contrasts(["t1"]), both_contrasts.in_contrasts(["t2"])
    others = Slices("brain", ("t2",), target.patients[4:])
    first = Slices("brain", ("t1",), source.patients[:4])
    return CycleEvaluation(first, others, EvaluationConfig(frechet_images=40), extractor=extractor)


def test_a_true_translation_equals_the_target_and_reaches_the_floor(paired):
    scores = paired.score(FakeTranslator(), seed=1).to_scores()
    assert scores["ssim", "foreground"].value > 0.99 > 0.5 > scores["ssim", "foreground"].references["unchanged"]
    assert scores["psnr"].value > 40 > 25 > scores["psnr"].references["unchanged"]
    assert scores["cycle_ssim"].value > 0.99
    assert scores["frechet"].value == pytest.approx(scores["frechet"].references["real"], rel=0.05)
    assert (scores.slices, scores.patients, scores["frechet"].conditions["setting"]) == (40, 8, "matched")


def test_changing_nothing_returns_perfectly_and_is_told_by_the_distance(paired):
    outcome = paired.score(FakeTranslator("unchanged"), seed=1)
    scores = outcome.to_scores()
    assert scores["cycle_ssim"].value == 1
    assert scores["frechet"].value == pytest.approx(scores["frechet"].references["unchanged"])
    assert outcome.choice < paired.score(FakeTranslator(), seed=1).choice
    assert scores["psnr"].value == scores["psnr"].references["unchanged"]


def test_a_translation_that_forgets_the_anatomy_does_not_return(paired):
    assert paired.score(FakeTranslator("forgetful"), seed=1).to_scores()["cycle_ssim", "foreground"].value < 0.3


def test_the_way_back_starts_from_the_second_domain(both_contrasts, extractor):
    source, target = both_contrasts.in_contrasts(["t2"]), both_contrasts.in_contrasts(["t1"])
    back = CycleEvaluation(source, target, EvaluationConfig(frechet_images=40), extractor=extractor)
    outcome = back.score(FakeTranslator(), seed=1)
    every = source.all().images
    assert all(
        (every == one).flatten(1).all(1).any()
        for one in torch.from_numpy(outcome.pictures.versions["source"].numpy())[:, None]
    )
    assert outcome.to_scores()["ssim", "foreground"].value > 0.99


def test_the_gain_over_unchanged_slices_is_paired_over_patients(paired):
    final = paired.score(FakeTranslator(), seed=1).final(200, seed=3)
    assert final["psnr", "foreground", "unchanged"].low > 10
    assert final["cycle_ssim"].value == pytest.approx(final["cycle_ssim"].value)


def test_different_patients_are_compared_as_sets_only(unpaired):
    outcome = unpaired.score(FakeTranslator(), seed=1)
    scores = outcome.to_scores()
    assert scores.get("psnr") is None
    assert outcome.final(100, seed=1).get(("psnr", "foreground", "unchanged")) is None
    assert scores["frechet"].conditions["setting"] == "free"
    assert scores["frechet"].value < scores["frechet"].references["unchanged"]
    assert "real target" not in outcome.pictures.arrays(4)["versions"].tolist()


def test_the_gallery_shows_the_truth_where_there_is_one(paired):
    gallery = paired.score(FakeTranslator(), seed=1).pictures.arrays(4)
    images = {str(name): torch.from_numpy(gallery["images"][:, i]) for i, name in enumerate(gallery["versions"])}
    assert list(images) == ["source", "translated", "real target", "and back"]
    assert psnr(images["translated"][:, None], images["real target"][:, None]).min() > 35


def test_what_cannot_be_scored_is_a_clear_error(paired, both_contrasts, extractor):
    with pytest.raises(StudyError, match="diverged"):
        paired.score(FakeTranslator("not finite"), seed=1)
    elsewhere = both_contrasts.in_contrasts(["t1", "t2"])
    evaluation = CycleEvaluation(elsewhere, elsewhere, EvaluationConfig(frechet_images=40), extractor=extractor)
    with pytest.raises(ConfigError, match="FakeTranslator cannot translate from brain t1\\+t2"):
        evaluation.score(FakeTranslator(), seed=1)
