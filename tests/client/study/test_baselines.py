from collections.abc import Callable

import numpy as np
import pytest
import torch

from client.study.baselines import blob, copy_and_paste, lesion_contrasts
from common.errors import DataError
from common.imaging.slices import PatientSlices, Slices, lesion_mask
from common.synthesis.masks import dilate, erode
from common.training.kinds import SyntheticSlices

Baseline = Callable[..., SyntheticSlices]
BOTH = pytest.mark.parametrize("baseline", [copy_and_paste, blob])


@BOTH
@pytest.mark.parametrize("count", [1, 7, 20])
def test_half_are_tumours_with_a_mask_and_half_have_none(slices: Slices, baseline: Baseline, count: int) -> None:
    made = baseline(slices, count, 1)
    assert len(made) == count
    assert int(made.tumour.sum()) == count - count // 2
    pixels = lesion_mask(made.labels).flatten(1).sum(1)
    assert (pixels[made.tumour] >= 12).all()
    assert (pixels[~made.tumour] == 0).all()
    assert made.images.shape == (count, 1, 64, 64)
    assert made.images.dtype == torch.float32
    assert made.images.min() >= 0
    assert made.images.max() <= 1


@BOTH
def test_is_the_same_for_the_same_seed(slices: Slices, baseline: Baseline) -> None:
    assert torch.equal(baseline(slices, 9, 1).images, baseline(slices, 9, 1).images)
    assert not torch.equal(baseline(slices, 9, 1).images, baseline(slices, 9, 2).images)


@BOTH
def test_healthy_slices_are_changed_near_the_mask_only(slices: Slices, baseline: Baseline) -> None:
    made = baseline(slices, 20, 1)
    healthy = slices.batch(made.origin)
    assert (healthy.tumour_pixels() == 0).all()
    assert torch.equal(made.foreground, healthy.foreground)
    far = ~dilate(lesion_mask(made.labels), 1).unsqueeze(1)[made.tumour]
    assert torch.equal(made.images[made.tumour][far], healthy.images[made.tumour][far])
    assert not torch.equal(made.images[made.tumour], healthy.images[made.tumour])
    assert (made.images * ~made.foreground.unsqueeze(1)).sum() == 0


@BOTH
def test_lesions_look_like_the_sites_own(slices: Slices, baseline: Baseline) -> None:
    """In the site's lesions the necrotic core is dark, the rim bright and the oedema between."""
    made = baseline(slices, 40, 1)
    values = {label: made.images.squeeze(1)[erode(made.labels == label, 1)].mean().item() for label in (1, 2, 4)}
    assert values[1] < values[2] < values[4]


def test_pasted_negatives_went_through_the_same_steps(slices: Slices) -> None:
    made = copy_and_paste(slices, 20, 1)
    healthy = slices.batch(made.origin[~made.tumour])
    changed = (made.images[~made.tumour] != healthy.images).squeeze(1)
    assert changed.flatten(1).any(1).all()
    mask = dilate(lesion_mask(made.labels[made.tumour]), 1)
    assert not (changed & ~mask).any()
    # Tissue into tissue: the brightness stays that of the surroundings.
    assert (made.images[~made.tumour] - healthy.images).abs().max() < 0.5


def test_blob_negatives_are_the_healthy_slices(slices: Slices) -> None:
    made = blob(slices, 20, 1)
    assert torch.equal(made.images[~made.tumour], slices.batch(made.origin[~made.tumour]).images)


def test_a_pasted_lesion_is_matched_to_its_new_surroundings(slices: Slices) -> None:
    """The same lesions in slices half as bright come out about half as bright."""
    dark = [
        PatientSlices(p.patient, (p.images * (0.7 if i >= 4 else 1)).astype(np.float16), p.labels, p.foreground)
        for i, p in enumerate(slices.patients)
    ]
    # Only the patients without a tumour are darkened; healthy slices come from them alone.
    bright_site = Slices("brain", ("flair",), _without_healthy_slices(slices))
    dark_site = Slices("brain", ("flair",), _without_healthy_slices(Slices("brain", ("flair",), dark)))
    bright, darker = copy_and_paste(bright_site, 30, 1), copy_and_paste(dark_site, 30, 1)
    inside = erode(lesion_mask(bright.labels), 2)
    ratio = darker.images.squeeze(1)[inside].mean() / bright.images.squeeze(1)[inside].mean()
    assert ratio.item() == pytest.approx(0.7, abs=0.05)


def _without_healthy_slices(slices: Slices) -> list[PatientSlices]:
    """Patients with a tumour keep their tumour slices only."""
    return [
        PatientSlices(p.patient, p.images[1:4], p.labels[1:4], p.foreground[1:4]) if p.labels.any() else p
        for p in slices.patients
    ]


def test_contrasts_are_those_of_the_lesions(slices: Slices) -> None:
    batch = slices.batch(slices.tumour_positions())
    contrasts = lesion_contrasts(batch)
    assert contrasts.shape == (len(batch), 3, 1)
    torch.testing.assert_close(contrasts.mean((0, 2)), torch.tensor([-0.2, 0.2, 0.5]), atol=0.03, rtol=0)


def test_a_label_that_a_lesion_lacks_gets_the_mean_contrast(slices: Slices) -> None:
    batch = slices.batch(slices.tumour_positions())
    full = lesion_contrasts(batch)
    batch.labels[0][batch.labels[0] == 1] = 4
    contrasts = lesion_contrasts(batch)
    torch.testing.assert_close(contrasts[0, 0], full[1:, 0].mean(0))


@BOTH
def test_a_site_without_tumours_or_without_healthy_slices_is_refused(
    slices: Slices, healthy_slices: Slices, baseline: Baseline
) -> None:
    with pytest.raises(DataError, match="tumour pixels"):
        baseline(healthy_slices, 4, 1)
    ill = Slices("brain", ("flair",), _without_healthy_slices(slices)[:4])
    with pytest.raises(DataError, match="only 0 slices are free of tumour"):
        baseline(ill, 4, 1)
