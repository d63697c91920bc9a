import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import ConfigError
from common.seeding import torch_generator
from common.training.diffaugment import OPERATIONS, Augmentation, diffaugment, draw_augmentation

ALL = ",".join(OPERATIONS)


def neutral(count: int) -> Augmentation:
    return draw_augmentation("", count, 16, torch_generator(1))


def one_at_a_time(image: Tensor, augmentation: Augmentation, i: int) -> Tensor:
    """The paper's operations on one image (C, H, W), written with padding and loops."""
    bright = image + augmentation.brightness[i]
    contrasted = (bright - bright.mean()) * augmentation.contrast[i] + bright.mean()
    down, right = augmentation.shift[i].tolist()
    size = image.shape[-1]
    padded = F.pad(contrasted, (size, size, size, size))
    moved = padded[:, size - down : 2 * size - down, size - right : 2 * size - right].clone()
    top, bottom, left, end = augmentation.hole[i].clamp(0, size).tolist()
    moved[:, top:bottom, left:end] = 0
    return moved


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_equals_the_papers_operations_image_by_image(channels: int) -> None:
    images = torch.rand(30, channels, 16, 16)
    augmentation = draw_augmentation(ALL, 30, 16, torch_generator(1))
    expected = torch.stack([one_at_a_time(image, augmentation, i) for i, image in enumerate(images)])
    torch.testing.assert_close(diffaugment(images, augmentation), expected)


def test_maps_that_are_no_grey_values_move_along_and_keep_their_values() -> None:
    mask = (torch.rand(30, 1, 16, 16) > 0.5).float()
    augmentation = draw_augmentation(ALL, 30, 16, torch_generator(1))
    moved = diffaugment(mask, augmentation.of_places())
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    places = draw_augmentation("translation,cutout", 30, 16, torch_generator(1))
    assert torch.equal(moved, diffaugment(mask, places))


def test_an_empty_policy_changes_nothing() -> None:
    images = torch.rand(4, 1, 16, 16)
    assert torch.equal(diffaugment(images, neutral(4)), images)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_changes_what_is_its_own(operation: str) -> None:
    drawn, still = draw_augmentation(operation, 50, 16, torch_generator(2)), neutral(50)
    changed = {
        "brightness": not torch.equal(drawn.brightness, still.brightness),
        "contrast": not torch.equal(drawn.contrast, still.contrast),
        "translation": not torch.equal(drawn.shift, still.shift),
        "cutout": bool((drawn.hole[:, 1] > drawn.hole[:, 0]).any()),
    }
    assert [name for name, has_changed in changed.items() if has_changed] == [operation]
    assert not torch.equal(diffaugment(torch.rand(50, 1, 16, 16), drawn), torch.rand(50, 1, 16, 16))


def test_parameters_stay_in_their_ranges_and_fill_them() -> None:
    drawn = draw_augmentation(ALL, 2000, 64, torch_generator(3))
    assert drawn.brightness.min() == pytest.approx(-0.25, abs=0.01)
    assert drawn.brightness.max() == pytest.approx(0.25, abs=0.01)
    assert drawn.contrast.min() == pytest.approx(0.5, abs=0.01)
    assert drawn.contrast.max() == pytest.approx(1.5, abs=0.01)
    assert (int(drawn.shift.min()), int(drawn.shift.max())) == (-8, 8)
    assert ((drawn.hole[:, 1] - drawn.hole[:, 0]) == 32).all()


def test_the_same_parameters_move_real_and_generated_images_alike() -> None:
    """What real and generated images have in common stays the same; a critic cannot tell them by the change."""
    common, augmentation = torch.rand(8, 1, 32, 32), draw_augmentation("translation,cutout", 8, 32, torch_generator(4))
    other = common + 0.1
    difference = diffaugment(other, augmentation) - diffaugment(common, augmentation)
    kept = diffaugment(torch.ones_like(common), augmentation)
    torch.testing.assert_close(difference, 0.1 * kept)


def test_is_differentiable_in_the_images() -> None:
    augmentation = draw_augmentation(ALL, 2, 6, torch_generator(5))
    images = torch.rand(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diffaugment(x, augmentation), (images,))


def test_channels_of_an_image_are_changed_alike() -> None:
    images = torch.rand(5, 1, 16, 16).expand(-1, 3, -1, -1)
    made = diffaugment(images, draw_augmentation(ALL, 5, 16, torch_generator(6)))
    assert torch.equal(made[:, 0], made[:, 2])


def test_is_the_same_for_the_same_seed() -> None:
    one, other = (draw_augmentation(ALL, 5, 16, torch_generator(7)) for _ in range(2))
    for name in ("brightness", "contrast", "shift", "hole"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(one.brightness, draw_augmentation(ALL, 5, 16, torch_generator(8)).brightness)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(ConfigError, match="saturation"):
        draw_augmentation("translation,saturation", 1, 16, torch_generator(1))
