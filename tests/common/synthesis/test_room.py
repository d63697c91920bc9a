import numpy as np
import pytest
import torch

from client.study.baselines import blob, copy_and_paste
from client.study.placement import placed_inside, placement
from common.errors import DataError
from common.imaging.slices import PatientSlices, Slices, lesion_mask
from common.seeding import torch_generator
from common.synthesis.masks import Deformation, MaskBank, broad_parts, place_masks
from common.synthesis.public_masks import PublicMasks
from common.synthesis.room import moved, shifts_that_fit
from common.synthesis.sources import InsertionSource

SIZE = 48


def disc(row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


def patient(name: str, organ: np.ndarray, lesion: np.ndarray | None) -> PatientSlices:
    labels = np.zeros((1, SIZE, SIZE), np.uint8) if lesion is None else 2 * lesion[None].astype(np.uint8)
    image = (0.5 * organ).astype(np.float16)[None, None]
    return PatientSlices(name, image, labels, organ[None].astype(np.uint8))


def site(*patients: PatientSlices) -> Slices:
    return Slices("brain", ("flair",), list(patients), 12)


def test_the_shifts_that_fit_are_those_that_trying_each_one_finds() -> None:
    generator = torch.Generator().manual_seed(1)
    mask, room = torch.zeros(2, 9, 11, dtype=torch.bool), torch.rand(2, 9, 11, generator=generator) > 0.05
    mask[0, 2:4, 3:5], mask[1, 7, 8] = True, True
    found = shifts_that_fit(mask, room)
    for index in range(2):
        points = mask[index].nonzero()
        for down in range(-9, 9):
            for right in range(-11, 11):
                places = points + torch.tensor([down, right])
                within = ((places >= 0) & (places < torch.tensor([9, 11]))).all(1)
                fits = bool(within.all()) and bool(room[index][places[:, 0], places[:, 1]].all())
                assert bool(found[index, down, right]) == fits


def test_a_map_is_moved_down_and_right() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 1] = 1
    assert moved(maps, torch.tensor([[2, -1]]))[0, 3, 0] == 1


def test_narrow_parts_are_no_room_but_where_they_are_nearly_all() -> None:
    organ = torch.from_numpy(disc(24, 24, 14)).unsqueeze(0)
    fringe = organ.clone()
    fringe[0, 23:25, :] = True
    assert not broad_parts(fringe)[0, 23, [0, 5, 43, 47]].any()
    assert (broad_parts(fringe) & organ).sum() > 0.95 * organ.sum()
    thin = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    thin[0, 10:12, 5:40] = True
    assert torch.equal(broad_parts(thin), thin)


@pytest.mark.parametrize("make", [copy_and_paste, blob])
def test_every_inserted_lesion_lies_in_the_head_to_its_last_pixel(make) -> None:
    rng = np.random.default_rng(0)
    ill = [patient(f"ill{i}", disc(24, 24, 18), disc(24 + 8 * i, 20, 4 + i)) for i in range(2)]
    well = [patient(f"well{i}", disc(*rng.uniform(18, 30, 2), rng.uniform(9, 16)), None) for i in range(6)]
    slices = site(*ill, *well)
    made = make(slices, 60, 3)
    found = placement(made, slices)
    assert found is not None
    assert (found.lesions, found.wholly_inside) == (30, 30)
    assert found.pixels == found.pixels_inside > 0


def test_a_lesion_comes_to_lie_where_the_real_one_lay_or_in_the_mirror_image_of_that_place() -> None:
    slices = site(patient("ill", disc(24, 24, 20), disc(18, 16, 3)), patient("well", disc(28, 26, 16), None))
    places = InsertionSource(slices).places(200, Deformation(elastic=0), torch_generator(1))
    rows, columns = torch.nonzero(lesion_mask(places.placed.labels))[:, 1:].float().T
    expected = 28 - 16 * 6 / 20
    assert rows.mean().item() == pytest.approx(expected, abs=1.5)
    away = (columns - 26).abs().mean().item()
    assert away == pytest.approx(16 * 8 / 20, abs=1)
    assert 0.3 < (columns > 26).float().mean().item() < 0.7


def test_public_shapes_lie_anywhere_in_the_organ() -> None:
    slices = site(patient("well", disc(24, 24, 20), None))
    source = InsertionSource(slices, masks=PublicMasks(slices))
    labels = source.places(200, Deformation(scale=(0.3, 0.4)), torch_generator(1)).placed.labels
    held = lesion_mask(labels).any(0)
    assert (held & slices.all().organ[0]).sum() > 0.7 * slices.all().organ.sum()
    assert not (held & ~slices.all().organ[0]).any()


def test_a_slice_without_room_gives_way_to_another_and_is_counted() -> None:
    ill = patient("ill", disc(24, 24, 20), disc(24, 24, 6))
    slices = site(ill, patient("tiny", disc(24, 24, 4), None), patient("well", disc(24, 24, 20), None))
    places = InsertionSource(slices).places(40, Deformation(), torch_generator(1))
    assert set(places.origin.tolist()) == {2}
    assert places.moved_on >= 10
    assert places.together(torch.zeros(80, 1, SIZE, SIZE), 80).moved_on == places.moved_on


def test_a_site_without_any_room_is_told_so() -> None:
    slices = site(patient("ill", disc(24, 24, 20), disc(24, 24, 6)), patient("tiny", disc(24, 24, 3), None))
    with pytest.raises(DataError, match=r"fits into the organ.*organs\.brain\.min_tumour_pixels"):
        InsertionSource(slices).places(4, Deformation(), torch_generator(1))


def test_a_lesion_that_is_partly_outside_is_counted() -> None:
    organ = torch.from_numpy(disc(24, 24, 10)).unsqueeze(0).repeat(2, 1, 1)
    labels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    labels[0, 20:24, 20:24], labels[1, 20:24, 30:40] = 1, 4
    found = placed_inside(labels, organ, 0)
    assert (found.lesions, found.wholly_inside, found.pixels) == (2, 1, 56)
    assert 16 < found.pixels_inside < 56


def test_masks_of_patients_are_placed_alike_for_the_same_seed() -> None:
    slices = site(patient("ill", disc(24, 24, 20), disc(14, 12, 3)), patient("well", disc(28, 26, 16), None))
    organ = slices.batch([1]).organ.repeat(5, 1, 1)
    one, same, other = (
        place_masks(MaskBank(slices), organ, Deformation(), generator=torch_generator(seed)).labels
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
