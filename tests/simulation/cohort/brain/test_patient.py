from dataclasses import replace

import numpy as np
import pytest

from common.errors import ConfigError
from simulation.cohort.brain.anatomy import HEAD_CENTRE, Head, load_template
from simulation.cohort.brain.confounders import Confounders
from simulation.cohort.brain.lesions import Kind, Lesion
from simulation.cohort.brain.patient import (
    HIGHEST,
    LARGEST_SHARE,
    LOWEST,
    WINDOW,
    Volumes,
    _lesion_and_first_slice,
    _lesion_slices,
    make_patient,
)
from simulation.cohort.brain.scanner import SCANNERS, acquire
from simulation.cohort.brain.signal import healthy_images
from simulation.cohort.fields import Grid
from simulation.cohort.key import PatientKey

KEY = PatientKey(seed=5, site="site/north", index=0, scanner="a", tumour=True, slices=24)


@pytest.fixture(scope="module")
def with_tumour() -> Volumes:
    return make_patient(KEY)


@pytest.fixture(scope="module")
def full_volume() -> Volumes:
    return make_patient(replace(KEY, tumour=False, slices=155))


@pytest.fixture(scope="module")
def without_tumour() -> Volumes:
    return make_patient(replace(KEY, tumour=False))


def test_same_key_gives_the_same_patient(with_tumour: Volumes) -> None:
    again = make_patient(KEY)
    assert again.first_slice == with_tumour.first_slice
    assert np.array_equal(again.labels, with_tumour.labels)
    assert all(np.array_equal(again.images[c], with_tumour.images[c]) for c in ("t1", "t1ce", "t2", "flair"))


@pytest.mark.parametrize("change", [{"seed": 6}, {"site": "site/south"}, {"index": 1}])
def test_another_seed_site_or_index_gives_another_patient(change: dict[str, int], with_tumour: Volumes) -> None:
    other = make_patient(replace(KEY, slices=8, **change))  # type: ignore[arg-type]
    assert not np.array_equal(other.images["t1"], with_tumour.images["t1"][:8])
    brains = other.images["t1"] > 0, with_tumour.images["t1"][:8] > 0
    assert not np.array_equal(*brains)


@pytest.fixture(scope="module")
def several_with_tumour() -> list[Volumes]:
    return [make_patient(replace(KEY, index=index, slices=24)) for index in range(5)]


def test_tumour_patients_have_slices_with_and_without_lesion(several_with_tumour: list[Volumes]) -> None:
    for volumes in several_with_tumour:
        present = (volumes.labels > 0).any(axis=(1, 2)).sum()
        assert 4 <= present <= 18


def test_patients_without_tumour_have_findings_but_no_label(without_tumour: Volumes) -> None:
    assert not without_tumour.labels.any()
    assert without_tumour.findings.any()


def test_no_finding_lies_under_a_label(with_tumour: Volumes) -> None:
    assert with_tumour.findings.any()
    assert not (with_tumour.findings & (with_tumour.labels > 0)).any()


def test_findings_are_visible(without_tumour: Volumes) -> None:
    """A finding must change the image, or it could not mislead a classifier."""
    grid = Grid.regular((80, 40, 44), (96, 220, 200))
    rng = np.random.default_rng(0)
    anatomy = Head(rng).on(grid)
    images = healthy_images(anatomy, grid, rng)
    before = images["flair"].copy()
    seats = np.argwhere(anatomy.brain & (anatomy.white > 0.8))[::50] + np.array([80.0, 40.0, 44.0])
    spared = np.zeros(grid.shape, bool)
    spared[:, :90] = True
    found = Confounders(rng, seats).apply(images, anatomy, grid, spared)
    changed = np.abs(images["flair"] - before) > 0.05
    assert changed.sum() > 100
    assert not changed[:, :90].any()
    assert (found[changed] > 0.05).all()


def test_lesion_is_brighter_than_the_brain_on_flair_in_nearly_every_patient(several_with_tumour: list[Volumes]) -> None:
    brighter = []
    for volumes in several_with_tumour:
        flair, labels = volumes.images["flair"].astype(float), volumes.labels
        brighter.append(flair[labels > 0].mean() > flair[(labels == 0) & (flair > 0)].mean())
    assert sum(brighter) >= len(brighter) - 1


def test_no_head_is_clipped_at_the_top_or_by_the_window() -> None:
    grid = Grid.regular((0, 0, 0), (155, 240, 240), 4)
    for seed in range(12):
        brain = Head(np.random.default_rng(seed)).on(grid).brain
        heights = np.flatnonzero(brain.any(axis=(1, 2)))
        assert 115 < grid.z[heights[-1]] < 152
        areas = brain.sum(axis=(1, 2))
        assert areas[heights[-1]] < 0.2 * areas.max(), "the vertex is round, not cut"
        for axis, positions, limits in ((1, grid.y, WINDOW[0]), (2, grid.x, WINDOW[1])):
            hit = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
            assert limits[0] < positions[hit[0]] < positions[hit[-1]] < limits[1]


def test_t2_has_no_bright_ring_at_the_surface(without_tumour: Volumes) -> None:
    from scipy.ndimage import binary_erosion

    t2 = without_tumour.images["t2"].astype(float)
    brain = t2 > 0
    inner = np.stack([binary_erosion(plane, iterations=2) for plane in brain])
    rim = brain & ~inner
    assert np.median(t2[rim]) < 1.5 * np.median(t2[inner])


def test_slab_is_a_piece_of_the_head_where_the_affine_says(full_volume: Volumes) -> None:
    slab = make_patient(replace(KEY, tumour=False, slices=8))
    part = full_volume.images["t1"][slab.first_slice : slab.first_slice + 8] > 0
    overlap = (part & (slab.images["t1"] > 0)).sum() / (part | (slab.images["t1"] > 0)).sum()
    assert overlap > 0.95


def test_full_volume_is_made_on_request(full_volume: Volumes) -> None:
    brain = full_volume.images["t1"] > 0
    assert brain.shape == (155, 240, 240)
    assert full_volume.first_slice == 0
    assert not brain[-1].any()
    assert 1.0e6 < brain.sum() < 1.9e6, "mm3; the two real cases have 1.24 and 1.60 million"


def test_mirrored_heads_occur() -> None:
    grid = Grid.regular((70, 130, 60), (72, 132, 180), 1)
    right_is_left = [
        bool(np.diff(Head(np.random.default_rng(s)).on(grid).position[0][0, 0]).mean() > 0) for s in range(12)
    ]
    assert 0 < sum(right_is_left) < 12


def test_tissue_fractions_sum_to_one_inside_the_brain() -> None:
    grid = Grid.regular((60, 40, 44), (120, 220, 200), 3)
    anatomy = Head(np.random.default_rng(1)).on(grid)
    total = anatomy.white + anatomy.grey + anatomy.fluid
    np.testing.assert_allclose(total[anatomy.brain], 1, atol=1e-3)


def test_template_is_sampled_where_it_lies() -> None:
    """Against scipy's interpolation at the same places."""
    from scipy.ndimage import map_coordinates

    template = load_template()
    rng = np.random.default_rng(0)
    position = [rng.uniform(low, high, (3, 4, 5)).astype(np.float32) for low, high in ((-60, 60), (-90, 60), (-50, 70))]
    index = [p - o for p, o in zip(position, template.origin, strict=True)]
    ours = template.at(position)
    for volume, values in zip(template.volumes.numpy(), ours, strict=True):
        np.testing.assert_allclose(values, map_coordinates(volume, index, order=1), atol=1e-4)


def test_mass_effect_points_away_from_the_lesion_and_fades() -> None:
    grid = Grid.regular((40, 60, 60), (120, 200, 180), 2)
    lesion = Lesion(np.random.default_rng(0), np.array([80.0, 130.0, 120.0]))
    push = lesion.mass_effect(grid)
    offsets = grid.offsets(lesion.centre)
    outwards = sum(p * o for p, o in zip(push, offsets, strict=True))
    size = np.sqrt(sum(p * p for p in push))
    assert (np.asarray(outwards) >= 0).all()
    assert 0.5 < size.max() < lesion.radius
    assert size[0, 0, 0] < 0.2 * size.max()


def test_ring_tumours_enhance_around_necrosis_and_infiltrative_ones_do_not() -> None:
    grid = Grid.regular((60, 90, 60), (110, 170, 120), 1)
    head = Head(np.random.default_rng(4))
    seen = {}
    for seed in range(40):
        lesion = Lesion(np.random.default_rng(seed), np.array([HEAD_CENTRE[0] + 18, 130.0, 90.0]))
        if lesion.kind not in seen and lesion.radius > 12:
            seen[lesion.kind] = lesion.on(grid, head.on(grid, lesion.mass_effect(grid)))
    assert set(seen) == set(Kind)
    ring, infiltrative = seen[Kind.RING].labels, seen[Kind.INFILTRATIVE].labels
    assert {1, 2, 4} <= set(np.unique(ring))
    assert set(np.unique(infiltrative)) == {0, 1, 2}
    core = np.argwhere(ring == 1).mean(axis=0), np.argwhere(ring == 4)
    assert (
        np.linalg.norm(core[1] - core[0], axis=1).mean()
        > np.linalg.norm(np.argwhere(ring == 1) - core[0], axis=1).mean()
    )


def test_scanners_differ_in_noise_and_scale() -> None:
    """On a flat signal, where neighbours differ by noise alone; averaged over days, which differ too."""
    grid = Grid.regular((0, 0, 0), (12, 60, 60))
    brain = np.ones(grid.shape, bool)
    noise, scale = {}, {}
    for name, scanner in SCANNERS.items():
        days = []
        for day in range(6):
            flat = {contrast: np.ones(grid.shape, np.float32) for contrast in ("t1", "t1ce", "t2", "flair")}
            days += acquire(flat, brain, grid, slice(2, 10), scanner, np.random.default_rng(day)).values()
        values = np.stack(days).astype(float)
        scale[name] = values.mean()
        noise[name] = np.diff(values, axis=3).std() / np.sqrt(2) / scale[name]
    assert noise["a"] < noise["b"] < noise["c"] < noise["external"]
    assert scale["c"] < scale["a"] < scale["b"]
    for name, scanner in SCANNERS.items():
        assert noise[name] == pytest.approx(scanner.noise, rel=0.15)
        assert scale[name] == pytest.approx(scanner.scale, rel=0.2)


def test_slab_of_any_size_shows_lesion_and_leaves_slices_free_of_it() -> None:
    """Over many heads, by the choice of the slab alone: a large lesion would fill one of 24 slices."""
    for slices in (8, 24, 60):
        for index in range(12):
            rng = np.random.default_rng(index)
            head = Head(rng)
            seats = np.argwhere(np.ones((3, 3, 3))) * 10.0 + np.array([70.0, 110.0, 80.0])
            lesion, first = _lesion_and_first_slice(rng, head, seats, slices)
            present = _lesion_slices(head, lesion)
            shown = ((present >= first) & (present < first + slices)).sum()
            assert LOWEST <= first <= HIGHEST - slices
            assert min(4, slices // 4) <= shown <= LARGEST_SHARE * slices


def test_unknown_scanner_is_named() -> None:
    with pytest.raises(ConfigError, match="mystery"):
        make_patient(replace(KEY, scanner="mystery"))
