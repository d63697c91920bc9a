from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from common.errors import ConfigError, DataError, StudyError
from common.imaging.slices import Slices
from common.metrics.similarity import ssim
from common.study.experiment import EvaluationConfig
from common.training.kinds import SamplingTrainer, SyntheticSlices
from common.training.trainer import Trainer
from server.evaluation.nearest import NearestEvaluation


class FakeSampler(SamplingTrainer[Tensor]):
    """Makes images by a rule; ``known`` are real slices that it may draw from."""

    def __init__(self, rule: str, known: Slices) -> None:
        super().__init__(device=torch.device("cpu"))
        self.rule, self.known = rule, known
        self.asked = torch.zeros(0, dtype=torch.bool)

    def sample(self, tumour: Tensor, condition: Tensor, seed: int) -> Tensor:
        self.asked = tumour
        generator = torch.Generator().manual_seed(seed)
        real = self.known.all().images
        drawn = real[torch.randint(len(real), (len(tumour),), generator=generator)]
        return {
            "copies": drawn,
            "one image": real[:1].expand(len(tumour), -1, -1, -1) + 0.01 * torch.rand(drawn.shape, generator=generator),
            "noise": torch.rand(drawn.shape, generator=generator),
            "not finite": torch.full_like(drawn, torch.inf),
        }[self.rule]

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Tensor]:
        raise NotImplementedError

    def train_step(self, batch: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        raise NotImplementedError


@pytest.fixture(scope="module")
def slices(both_contrasts: Slices) -> Slices:
    return both_contrasts.in_contrasts(["t1"])


@pytest.fixture(scope="module")
def evaluation(slices: Slices, extractor: object) -> NearestEvaluation:
    return NearestEvaluation(slices, EvaluationConfig(frechet_images=40), extractor=extractor)  # type: ignore[arg-type]


def test_copies_of_the_reference_are_found_and_their_distance_is_near_the_floor(evaluation, slices):
    scores = evaluation.score(FakeSampler("copies", slices), seed=1).to_scores()
    assert scores["nearest_ssim"].value > 0.9 > scores["nearest_ssim"].references["real"]
    assert scores["frechet"].value < scores["frechet"].references["real"] + 0.2 * (
        scores["frechet"].references["blurred"] - scores["frechet"].references["real"]
    )
    assert not scores.collapsed
    assert (scores.slices, scores.patients, scores["frechet"].conditions["setting"]) == (40, 8, "free")


def test_noise_is_far_from_everything(evaluation, slices):
    copies = evaluation.score(FakeSampler("copies", slices), seed=1)
    noise = evaluation.score(FakeSampler("noise", slices), seed=1)
    assert noise.to_scores()["nearest_ssim"].value < 0.2
    assert noise.choice < copies.choice


def test_one_image_again_and_again_is_a_collapse(evaluation, slices):
    scores = evaluation.score(FakeSampler("one image", slices), seed=1).to_scores()
    assert scores.collapsed
    assert scores["ms_ssim"].value > 0.9 > scores["ms_ssim"].references["real"]


def test_as_many_tumours_are_asked_for_as_the_reference_has(evaluation, slices):
    trainer = FakeSampler("copies", slices)
    evaluation.score(trainer, seed=1)
    assert trainer.asked.tolist() == evaluation.tumour.tolist()
    assert 0 < trainer.asked.sum() < 40


def test_real_slices_are_compared_with_those_of_other_patients(evaluation):
    owner = torch.from_numpy(evaluation.owner)
    assert (owner[evaluation.real_nearest.index] != owner).all()


def test_the_final_record_has_intervals_over_the_generated_slices(evaluation, slices):
    final = evaluation.score(FakeSampler("noise", slices), seed=1).final(200, seed=3)
    interval = final["nearest_ssim"]
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(final["nearest_ssim"].value)


def test_the_gallery_shows_the_real_slice_that_the_figure_is_against(evaluation, slices):
    outcome = evaluation.score(FakeSampler("noise", slices), seed=1)
    gallery = outcome.pictures.arrays(6, [outcome.gallery_images])
    generated, real = torch.from_numpy(gallery["images"][:, :1]), torch.from_numpy(gallery["images"][:, 1:])
    shown = gallery["figures"][:, gallery["figure_names"].tolist().index("SSIM to the nearest")]
    assert ssim(generated, real).tolist() == pytest.approx(shown.tolist(), abs=1e-4)
    assert gallery["by_round"].shape == (1, 6, 32, 32)


def test_what_cannot_be_scored_is_a_clear_error(evaluation, slices, extractor):
    with pytest.raises(StudyError, match="diverged"):
        evaluation.score(FakeSampler("not finite", slices), seed=1)

    class Claims(Trainer[Tensor]):
        batches = FakeSampler.batches
        train_step = FakeSampler.train_step

    with pytest.raises(ConfigError, match="Claims says that its score is nearest but cannot sample"):
        evaluation.score(Claims(device=torch.device("cpu")), seed=1)
    with pytest.raises(DataError, match="has 1 patients, scoring needs two"):
        NearestEvaluation(Slices("brain", ("t1",), slices.patients[:1]), EvaluationConfig(), extractor=extractor)
