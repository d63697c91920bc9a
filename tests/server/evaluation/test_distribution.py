import numpy as np
import pytest
import torch
from torch import Tensor

from common.figures.figure import Scores
from common.metrics.frechet import disjoint_halves, frechet_distance_of
from common.metrics.kernel_distance import kernel_distance
from common.metrics.manifold import manifold_scores
from common.metrics.normalised import blurred
from common.seeding import derive_seed
from server.evaluation.distribution import ReferenceDistribution

DIMENSIONS = 12
PATIENTS = 20


def sample(n: int, seed: int, scale: float = 1.0) -> Tensor:
    """Independent features of one Gaussian."""
    spectrum = torch.arange(1, DIMENSIONS + 1) ** -0.5
    return torch.randn(n, DIMENSIONS, generator=torch.Generator().manual_seed(seed)) * spectrum * scale


def clustered(slices: int, seed: int, patients: int = PATIENTS) -> Tensor:
    """The same Gaussian, but slices of one patient share most of their variance."""
    own = sample(patients, derive_seed("patients", seed)).repeat_interleave(slices, dim=0)
    return 0.8**0.5 * own + 0.2**0.5 * sample(patients * slices, derive_seed("slices", seed))


def distribution_of(real: Tensor, patients: int = PATIENTS, **options: str) -> ReferenceDistribution:
    owner = np.repeat(np.arange(patients), len(real) // patients)
    names = {"features": "EffLite0", "distance_name": "FD-EffLite0", **options}
    return ReferenceDistribution(real, real * 0.2 + 1, owner, **names)


MANIFOLD = ("manifold_precision", "manifold_recall", "density", "coverage")


@pytest.fixture(scope="module")
def real() -> Tensor:
    return sample(120, 1)


@pytest.fixture(scope="module")
def distribution(real) -> ReferenceDistribution:
    return distribution_of(real)


def test_real_images_in_their_own_place_equal_every_floor(distribution, real):
    scores = Scores(figures=distribution.matched(real))
    assert scores["frechet"].value == scores["frechet"].references["real"] > 0
    assert scores["frechet_normalised"].value == 0
    assert scores["kernel"].value == scores["kernel"].references["real"]
    for name in MANIFOLD:
        assert scores[name].value == scores[name].references["real"]
    conditions = scores["frechet"].conditions
    assert (conditions["features"], conditions["setting"]) == ("EffLite0", "matched")


def test_blurred_images_in_their_own_place_are_1(distribution, real):
    scores = Scores(figures=distribution.matched(real * 0.2 + 1))
    assert scores["frechet"].value == scores["frechet"].references["blurred"]
    assert scores["frechet_normalised"].value == 1
    assert (
        scores["kernel"].value
        > scores["kernel"].references["real"] + 5 * scores["kernel"].conditions["subset_deviation"]
    )
    assert scores["manifold_recall"].value < scores["manifold_recall"].references["real"]


def test_matched_figures_are_means_over_halves_of_different_patients(distribution, real):
    generated = real + 0.3 * sample(120, 2)
    scores = Scores(figures=distribution.matched(generated))
    halves = disjoint_halves(np.repeat(np.arange(PATIENTS), 6), derive_seed("reference set"), 4)
    pairs = [(real[a], generated[b]) for a, b in halves]
    assert scores["frechet"].value == pytest.approx(np.mean([frechet_distance_of(*pair) for pair in pairs]))
    assert scores["kernel"].value == pytest.approx(np.mean([kernel_distance(*pair) for pair in pairs]))
    coverage = np.mean([manifold_scores(*pair, k=5).coverage for pair in pairs])
    assert scores["coverage"].value == pytest.approx(coverage)
    assert {scores["frechet"].n, scores["kernel"].n, scores["coverage"].n, distribution.n} == {60}
    assert (scores["kernel"].conditions["subset_size"], scores["coverage"].conditions["k"]) == (30, 5)


def test_a_free_generator_of_the_same_distribution_equals_the_floor_on_average():
    figures = []
    for seed in range(40):
        scores = Scores(figures=distribution_of(sample(80, 2 * seed)).free(sample(90, 2 * seed + 1)))
        figures.append(
            [
                (scores["frechet"].value, scores["frechet"].references["real"]),
                (scores["kernel"].value, scores["kernel"].references["real"]),
                *[(scores[name].value, scores[name].references["real"]) for name in MANIFOLD],
            ]
        )
    difference = np.subtract(*np.moveaxis(np.array(figures), 2, 0))
    error = difference.std(0, ddof=1) / len(figures) ** 0.5
    assert (np.abs(difference.mean(0)) < 4 * error).all()
    floor = np.array(figures)[:, 0, 1].mean()
    assert error[0] < 0.05 * floor


def test_all_real_images_are_compared_with_free_ones(distribution, real, monkeypatch):
    compared = []

    def remember(real: Tensor, generated: Tensor) -> float:
        compared.append((real, generated))
        return 1.0

    monkeypatch.setattr("server.evaluation.distribution.frechet_distance_of", remember)
    generated = sample(150, 3)
    distribution.free(generated)
    assert {tuple(row) for one, _ in compared for row in one.tolist()} == {tuple(row) for row in real.tolist()}
    assert all(len(one) == len(other) == distribution.n for one, other in compared)
    for (_, first), (_, second) in zip(compared[::2], compared[1::2], strict=True):
        assert not {tuple(row) for row in first.tolist()} & {tuple(row) for row in second.tolist()}


def test_independent_images_lie_below_the_floor_of_clustered_patients_but_a_worse_generator_does_not():
    floors, perfect, narrow = [], [], []
    for seed in range(20):
        distribution = distribution_of(clustered(6, seed))
        scores = Scores(figures=distribution.free(sample(120, seed + 100)))
        floors.append(scores["frechet"].references["real"])
        perfect.append(scores["frechet"].value)
        narrow.append(distribution.free(sample(120, seed + 100, scale=0.3))[0].value)
    assert 0.4 * np.mean(floors) < np.mean(perfect) < np.mean(floors) < np.mean(narrow)


def test_a_generator_that_knows_few_images_loses_recall_and_coverage(distribution, real):
    healthy = Scores(figures=distribution.free(sample(120, 3)))
    collapsed = Scores(figures=distribution.free(real[:6].repeat(20, 1) + 0.01 * sample(120, 4)))
    assert collapsed["manifold_recall"].value < 0.5 * healthy["manifold_recall"].value
    assert collapsed["coverage"].value < 0.6 * healthy["coverage"].value
    assert collapsed["manifold_precision"].value > 0.9


def test_the_same_images_give_the_same_scores(distribution):
    generated = sample(120, 3)
    assert distribution.free(generated) == distribution.free(generated.clone())
    assert distribution.free(generated) != distribution.free(sample(120, 4))


def test_scores_survive_json(distribution, real):
    scores = Scores(figures=distribution.free(sample(70, 3)))
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


def test_only_inception_features_make_an_fid_and_a_kid(real):
    scores = Scores(figures=distribution_of(real, features="InceptionV3", distance_name="FID").matched(real))
    assert (scores["frechet"].name, scores["kernel"].name) == ("FID", "KID")
    scores = Scores(figures=distribution_of(real).matched(real))
    assert (scores["frechet"].name, scores["kernel"].name) == ("FD-EffLite0", "KD-EffLite0")


def test_with_few_images_there_are_distances_but_no_neighbours():
    real = sample(8, 1)
    scores = Scores(figures=distribution_of(real, patients=4).matched(real + 0.1))
    assert scores["frechet"].n == 4
    assert not [one for one in scores.figures if one.metric in MANIFOLD]


def test_images_that_are_all_the_same_leave_the_normalised_distance_open():
    same = torch.full((24, 5), 0.1)
    owner = np.repeat(np.arange(4), 6)
    scores = Scores(figures=ReferenceDistribution(same, same, owner, features="F", distance_name="FD-F").matched(same))
    assert scores["frechet"].value == pytest.approx(0, abs=1e-12)
    assert scores["frechet_normalised"].value is None
    assert scores["manifold_precision"].value == 0


class Pixels:
    """Features that cost nothing."""

    name = "Pixels"
    distance_name = "FD-Pixels"
    fingerprint = "pixels"

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_from_images_the_blurred_ones_are_made_and_both_may_come_from_a_cache():
    # A fine pattern that all share, so that blurring moves every image the same way.
    pattern = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 0.5
    images = pattern + 0.3 * torch.rand(24, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    owner = np.repeat(np.arange(6), 4)
    asked: list[Tensor] = []

    def cached(given: Tensor) -> Tensor:
        asked.append(given)
        return Pixels().features(given)

    distribution = ReferenceDistribution.of_images(images, owner, Pixels(), cached)
    assert torch.equal(asked[0], images)
    assert torch.equal(asked[1], blurred(images))
    assert len(asked) == 2
    scores = Scores(figures=distribution.matched(Pixels().features(blurred(images))))
    assert scores["frechet_normalised"].value == 1
    assert scores.figures == ReferenceDistribution.of_images(images, owner, Pixels()).matched(asked[1].flatten(1))


def test_features_that_do_not_fit_are_refused(distribution, real):
    with pytest.raises(ValueError, match="matched features"):
        distribution.matched(real[:-1])
    with pytest.raises(ValueError, match="at least 60 features"):
        distribution.free(real[:59])
    with pytest.raises(ValueError, match="not finite"):
        distribution.free(real.clone().fill_(torch.nan))
    with pytest.raises(ValueError, match="same images"):
        ReferenceDistribution(real, real[:-1], np.arange(120), features="F", distance_name="FD-F")


@pytest.mark.parametrize(
    ("owner", "text"), [(np.zeros(6, np.int64), "two patients"), (np.array([0, 0, 0, 0, 0, 1]), "at least two images")]
)
def test_a_reference_set_that_cannot_be_halved_is_refused(owner, text):
    with pytest.raises(ValueError, match=text):
        ReferenceDistribution(sample(6, 1), sample(6, 2), owner, features="F", distance_name="FD-F")
