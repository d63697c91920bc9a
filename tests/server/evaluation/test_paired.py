from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import ConfigError, DataError, StudyError
from common.imaging.slices import PatientSlices, SliceBatch, Slices, lesion_mask
from common.imaging.spread import spread_over_patients
from common.metrics.inpainting import biharmonic
from common.metrics.similarity import box_mask, psnr, ssim
from common.study.experiment import EvaluationConfig
from common.training.kinds import PairedTrainer, Reconstruction, SyntheticSlices
from common.training.trainer import EvaluationProtocol, Trainer
from server.evaluation.evaluation import build_evaluations
from server.evaluation.paired import PairedEvaluation

SIZE = 48


def patient(number: int, tumour_slices: int) -> PatientSlices:
    """Eight slices of smooth texture inside a disc, with a textured lesion on the first ``tumour_slices``."""
    random = torch.Generator().manual_seed(number)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    foreground = ((y - 24) ** 2 + (x - 24) ** 2 < 21**2).expand(8, SIZE, SIZE)
    texture = torch.nn.functional.avg_pool2d(torch.rand(8, 1, SIZE, SIZE, generator=random), 5, 1, 2) * 0.8
    lesion = ((y - 18 - number % 9) ** 2 + (x - 22) ** 2 < (3 + number % 4) ** 2).expand(8, SIZE, SIZE).clone()
    lesion[tumour_slices:] = False
    spots = (torch.rand(8, 1, SIZE, SIZE, generator=random) < 0.5) * 0.4
    images = torch.where(lesion[:, None], texture + spots, texture) * foreground[:, None]
    return PatientSlices(
        f"patient{number}",
        images.clamp(0, 1).numpy().astype(np.float16),
        lesion.numpy().astype(np.uint8) * 4,
        foreground.numpy().astype(np.uint8),
    )


class PooledPixels:
    """Features that cost nothing: the image at 1/6 of its size."""

    name = "Pooled"
    distance_name = "FD-Pooled"
    fingerprint = "pooled"
    calls = 0

    def features(self, images: Tensor) -> Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool2d(images, 6).flatten(1)


class FakeTrainer(PairedTrainer[Tensor]):
    """A "generator" that fills the lesion's surroundings by a rule."""

    def __init__(self, rule: str) -> None:
        super().__init__(device=torch.device("cpu"))
        self.rule = rule

    def reconstruct(self, batch: SliceBatch, condition: Tensor, seed: int) -> Reconstruction:
        assert condition.shape == (8,)
        lesion = lesion_mask(batch.labels)
        region = torch.nn.functional.max_pool2d(lesion[:, None].float(), 5, 1, 2)[:, 0] > 0
        noise = torch.rand(batch.images.shape, generator=torch.Generator().manual_seed(seed))
        if self.rule == "everything":
            region = torch.ones_like(region)
        fills = {
            "identity": batch.images,
            "constant": torch.full_like(batch.images, 0.9),
            "noise": noise,
            "not finite": torch.full_like(batch.images, torch.nan),
            "biharmonic": biharmonic(batch.images, region) if self.rule == "biharmonic" else noise,
            "everything": noise,
            "bright": batch.images * 1.5 + 0.2,
            "nothing": batch.images,
        }
        if self.rule == "nothing":
            region = torch.zeros_like(region)
        return Reconstruction(torch.where(region[:, None], fills[self.rule], batch.images), batch.images, region)

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Tensor]:
        raise NotImplementedError

    def train_step(self, batch: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        raise NotImplementedError


def evaluation_of(slices: Slices, **options: object) -> PairedEvaluation:
    config = EvaluationConfig(paired_images=20, frechet_images=24)
    return PairedEvaluation(
        slices,
        config,
        **{"extractor": PooledPixels(), **options},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def slices() -> Slices:
    return Slices("brain", ("flair",), [patient(i, tumour) for i, tumour in enumerate([5, 0, 7, 3, 6, 2, 8, 4])], 12)


@pytest.fixture(scope="module")
def evaluation(slices) -> PairedEvaluation:
    return evaluation_of(slices)


def test_a_perfect_generator_is_identical_and_reaches_the_real_floor(evaluation):
    scores = evaluation.score(FakeTrainer("identity"), seed=1).to_scores()
    assert scores["ssim"].value == pytest.approx(1)
    assert scores["ssim", "lesion"].value == pytest.approx(1)
    assert scores["psnr", "lesion"].value == scores["psnr"].value == 100
    assert scores["frechet"].value == scores["frechet"].references["real"] > 0
    assert (scores["frechet"].name, scores.slices, scores.patients) == ("FD-Pooled", 20, 7)


def test_a_constant_fill_is_worse_than_inpainting_and_further_than_the_floor(evaluation):
    outcome = evaluation.score(FakeTrainer("constant"), seed=1)
    scores = outcome.to_scores()
    assert scores["ssim", "lesion"].value < scores["ssim", "lesion"].references["biharmonic"]
    assert scores["psnr", "lesion"].value < scores["psnr", "lesion"].references["biharmonic"]
    assert scores["frechet"].value > scores["frechet"].references["real"]
    final = outcome.final(samples=200, seed=1)
    assert final["psnr", "lesion", "biharmonic"].high < 0
    assert final["ssim", "lesion"].value == scores["ssim", "lesion"].value


def test_inpainting_itself_has_no_gain_over_inpainting(evaluation):
    final = evaluation.score(FakeTrainer("biharmonic"), seed=1).final(samples=200, seed=1)
    gain = final["ssim", "lesion", "biharmonic"]
    assert (gain.value, gain.low, gain.high) == (pytest.approx(0, abs=1e-6), None, None)
    assert final["psnr", "lesion"].value == pytest.approx(final["psnr", "lesion"].references["biharmonic"], abs=1e-3)


def test_each_figure_is_the_mean_over_slices_of_its_region(evaluation, slices):
    outcome = evaluation.score(FakeTrainer("constant"), seed=1)
    batch = slices.batch(evaluation.positions[evaluation.paired])
    made = FakeTrainer("constant").reconstruct(batch, slices.condition(), 1)
    scores = outcome.to_scores()
    assert scores["ssim"].value == pytest.approx(ssim(made.images, batch.images).mean().item())
    assert scores["psnr", "foreground"].value == pytest.approx(
        psnr(made.images, batch.images, batch.foreground).mean().item()
    )
    box = box_mask(made.region)
    assert scores["ssim", "lesion"].value == pytest.approx(ssim(made.images, batch.images, box).mean().item())
    floor = biharmonic(batch.images, made.region)
    assert scores["psnr", "lesion"].references["biharmonic"] == pytest.approx(
        psnr(floor, batch.images, box).mean().item()
    )
    assert outcome.choice == scores["ssim", "lesion"].value
    assert scores["ssim", "lesion"].value < scores["ssim", "foreground"].value < scores["ssim"].value


def test_the_gain_is_paired_and_averaged_over_patients(evaluation):
    outcome = evaluation.score(FakeTrainer("noise"), seed=1)
    (lesion,) = (one for one in outcome.measures if (one.metric, one.part) == ("psnr", "lesion"))
    gain = (lesion.values - lesion.references["biharmonic"]).numpy()
    owner = outcome.patients.numpy()
    expected = np.mean([gain[owner == p].mean() for p in np.unique(owner)])
    final = outcome.final(samples=300, seed=2)
    assert final["psnr", "lesion", "biharmonic"].value == pytest.approx(expected)
    assert final["psnr", "lesion", "biharmonic"].low < expected < final["psnr", "lesion", "biharmonic"].high


def test_the_same_seed_gives_the_same_scores(evaluation, slices):
    first = evaluation.score(FakeTrainer("noise"), seed=5).to_scores()
    assert evaluation_of(slices).score(FakeTrainer("noise"), seed=5).to_scores() == first
    assert evaluation.score(FakeTrainer("noise"), seed=6).to_scores() != first


def test_generated_images_are_compared_with_real_ones_of_other_patients(evaluation, slices):
    owner = slices.owner[evaluation.positions[evaluation.compared]]
    halves = evaluation.distribution.halves
    assert len(halves) == 4
    for real, other in halves:
        assert not set(owner[real]) & set(owner[other])


def test_tumour_slices_alone_are_scored_and_as_many_as_asked_for(slices):
    evaluation = PairedEvaluation(
        replace(slices, min_tumour_pixels=30),
        EvaluationConfig(paired_images=7, frechet_images=15),
        extractor=PooledPixels(),
    )
    assert (slices.tumour_pixels[evaluation.positions] >= 30).all()
    assert (len(evaluation.positions), len(evaluation.paired), len(evaluation.compared)) == (15, 7, 15)
    scores = evaluation.score(FakeTrainer("identity"), seed=1).to_scores()
    assert scores.slices == 7
    assert scores["frechet"].n <= 7


def test_real_features_are_kept_on_disk_and_a_broken_file_is_made_again(slices, tmp_path: Path):
    def floor(extractor: PooledPixels) -> float:
        return evaluation_of(slices, cache_dir=tmp_path, extractor=extractor).distribution.floor

    first = floor(PooledPixels())
    sharp, _blurred = sorted(tmp_path.glob("features-*.npz"), key=lambda file: file.stat().st_mtime_ns)
    again = PooledPixels()
    assert floor(again) == first
    assert again.calls == 0
    sharp.write_bytes(b"broken")
    assert floor(again) == first
    assert again.calls == 1
    other = PooledPixels()
    other.fingerprint = "other weights"
    floor(other)
    assert other.calls == 2


def test_inpainting_is_done_once_for_one_region(evaluation, monkeypatch):
    evaluation.score(FakeTrainer("constant"), seed=1)
    monkeypatch.setattr("server.evaluation.paired.biharmonic", None)
    evaluation.score(FakeTrainer("noise"), seed=1)


@pytest.mark.parametrize("healthy", [8, 7])
def test_a_reference_set_without_two_tumour_patients_is_refused(healthy):
    patients = [patient(i, 0 if i < healthy else 5) for i in range(8)]
    with pytest.raises(DataError, match=f"the reference set of the brain has {8 - healthy} patients with a tumour"):
        evaluation_of(Slices("brain", ("flair",), patients))


def test_a_model_that_cannot_be_scored_is_named():
    trainer = FakeTrainer("identity")
    trainer.protocol = EvaluationProtocol.NONE  # type: ignore[misc]
    with pytest.raises(ConfigError, match="protocol none cannot be scored on the reference set, only paired"):
        build_evaluations(None, trainer, {}, "final")  # type: ignore[arg-type]


def test_a_model_that_only_claims_to_be_paired_is_named(evaluation):
    class Claims(Trainer[Tensor]):
        protocol = EvaluationProtocol.PAIRED
        batches = FakeTrainer.batches
        train_step = FakeTrainer.train_step

    with pytest.raises(ConfigError, match="Claims says that its score is paired"):
        evaluation.score(Claims(device=torch.device("cpu")), seed=1)


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        ("not finite", StudyError, "diverged"),
        ("everything", ConfigError, "whole image"),
        ("nothing", StudyError, "no region"),
    ],
)
def test_output_that_cannot_be_scored_is_a_clear_error(evaluation, rule, error, text):
    with pytest.raises(error, match=text):
        evaluation.score(FakeTrainer(rule), seed=1)


def test_values_outside_the_range_are_clipped_before_scoring(evaluation):
    outcome = evaluation.score(FakeTrainer("bright"), seed=1)
    assert outcome.images.max() == 1


def test_slices_are_spread_over_patients_and_over_each_ones_slices():
    owner = np.repeat([0, 1, 2], [20, 3, 9])
    chosen = spread_over_patients(np.arange(32), owner, 12)
    assert np.bincount(owner[chosen]).tolist() == [5, 3, 4]
    assert np.diff(chosen[owner[chosen] == 0]).tolist() == [4] * 4
    assert spread_over_patients(np.arange(32), owner, 100).tolist() == list(range(32))
    assert spread_over_patients(np.arange(0), owner, 5).tolist() == []


def test_the_gallery_shows_best_median_worst_and_a_spread(evaluation):
    outcome = evaluation.score(FakeTrainer("constant"), seed=1)
    earlier = evaluation.score(FakeTrainer("noise"), seed=1)
    gallery = outcome.pictures.arrays(8, by_round=[earlier.gallery_images, outcome.gallery_images])
    (values,) = (one.values.numpy() for one in outcome.measures if (one.metric, one.part) == ("ssim", "lesion"))
    assert gallery["rule"].tolist() == ["best", "median", "worst", *["evenly spread"] * 5]
    shown = gallery["figures"][:, gallery["figure_names"].tolist().index("lesion SSIM")]
    assert shown[:3].tolist() == [values.max(), np.sort(values)[::-1][10], values.min()]
    images = {str(name): gallery["images"][:, i] for i, name in enumerate(gallery["versions"])}
    assert (str(gallery["followed"]), str(gallery["last"])) == ("generated", "real")
    assert gallery["by_round"].shape == (2, 8, SIZE, SIZE)
    np.testing.assert_allclose(gallery["by_round"][1], images["generated"], atol=1e-3)
    region = gallery["region"]
    assert (images["blanked"][region] == 0).all()
    for name in ("blanked", "generated", "biharmonic"):
        np.testing.assert_array_equal(images[name][~region], images["real"][~region])
    assert len({image.tobytes() for image in images["real"]}) == 8


@pytest.mark.parametrize(("asked", "shown"), [(1, 1), (2, 2), (3, 3), (500, 20)])
def test_the_gallery_shows_at_most_what_there_is(evaluation, asked, shown):
    gallery = evaluation.score(FakeTrainer("constant"), seed=1).pictures.arrays(asked)
    assert {len(gallery[name]) for name in ("images", "rule", "figures", "labels", "region")} == {shown}
    assert "by_round" not in gallery
