"""What is shown is what the rule says, and a planted copy is found beside its original."""

import numpy as np
import pytest
import torch

from client.study.choice import best_median_worst, crops_around, most_confident, nearest_to
from common.metrics.similarity import ssim


def test_best_median_and_worst_of_many_scores() -> None:
    score = np.random.default_rng(1).permutation(101).astype(float)
    chosen = best_median_worst(score, each=3)
    assert score[chosen["best"]].tolist() == [100, 99, 98]
    assert score[chosen["median"]].tolist() == [51, 50, 49]
    assert score[chosen["worst"]].tolist() == [2, 1, 0]


@pytest.mark.parametrize("count", range(8))
def test_no_slice_is_shown_twice_and_none_without_a_score(count: int) -> None:
    score = np.array([np.nan, *np.arange(count, dtype=float)])
    shown = np.concatenate(list(best_median_worst(score, each=2).values()))
    assert len(set(shown.tolist())) == len(shown) == min(count, 6)
    assert 0 not in shown


def test_the_surest_calls_are_one_a_patient() -> None:
    probability = np.array([0.99, 0.98, 0.7, 0.01, 0.3, 0.2, 0.9, 0.5])
    truth = np.array([True, True, True, False, False, True, False, False])
    patient = np.array(["a", "a", "b", "c", "c", "d", "e", "f"])
    chosen = {kind: positions.tolist() for kind, positions in most_confident(probability, truth, patient).items()}
    assert chosen == {"found": [0, 2], "cleared": [3], "missed": [5], "false_alarm": [6, 7]}


def test_kinds_of_calls_that_were_not_made_are_empty() -> None:
    chosen = most_confident(np.array([0.9]), np.array([True]), np.array(["a"]))
    assert [len(positions) for positions in chosen.values()] == [1, 0, 0, 0]


def test_a_crop_is_centred_on_its_mask_and_stays_inside() -> None:
    images = torch.rand(2, 1, 32, 32)
    mask = torch.zeros(2, 32, 32, dtype=torch.bool)
    mask[0, 15:18, 9:12] = True
    mask[1, 0, 31] = True
    crops = crops_around(images, mask, 12)
    assert torch.equal(crops[0], images[0, :, 10:22, 4:16])
    assert torch.equal(crops[1], images[1, :, :12, 20:])
    with pytest.raises(ValueError, match="nothing to cut around"):
        crops_around(images, mask & False, 12)
    with pytest.raises(ValueError, match="does not fit"):
        crops_around(images, mask, 33)


def test_a_planted_copy_is_found_unless_it_is_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    references = torch.rand(30, 1, 16, 16, generator=generator)
    images = torch.rand(3, 1, 16, 16, generator=generator)
    images[1] = (references[17] + 0.01).clamp(0, 1)
    owner, reference_owner = np.array([0, 1, 2]), np.arange(30) + 3
    found = nearest_to(images, references, owner, reference_owner)
    assert found.index[1] == 17
    assert found.ssim[1] > 0.98
    assert found.ssim[[0, 2]].max() < 0.5
    reference_owner[17] = 1
    assert nearest_to(images, references, owner, reference_owner).index[1] != 17


def test_the_neighbour_is_that_of_an_exhaustive_search() -> None:
    generator = torch.Generator().manual_seed(2)
    references, images = torch.rand(6, 2, 16, 16, generator=generator), torch.rand(4, 2, 16, 16, generator=generator)
    owner, reference_owner = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    found = nearest_to(images, references, owner, reference_owner, shortlist=6)
    for i in range(4):
        alike = [ssim(images[i : i + 1], references[j : j + 1]).item() for j in range(6)]
        allowed = [j for j in range(6) if reference_owner[j] != owner[i]]
        assert found.index[i] == max(allowed, key=alike.__getitem__)
        assert found.ssim[i] == pytest.approx(max(alike[j] for j in allowed))


def test_an_image_whose_every_reference_is_its_own_has_no_neighbour() -> None:
    found = nearest_to(torch.rand(1, 1, 16, 16), torch.rand(2, 1, 16, 16), np.array([5]), np.array([5, 5]))
    assert found.index.tolist() == [-1]
    assert np.isnan(found.ssim).all()
