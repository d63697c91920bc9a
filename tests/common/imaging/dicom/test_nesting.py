"""What several contours of one structure on one slice enclose together."""

import time

import numpy as np
import numpy.typing as npt
import pytest

from common.imaging.dicom.nesting import together

SHAPE = (96, 96)
Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def circle(x: float, y: float, radius: float, points: int = 90, start: float = 0.0) -> Points:
    angle = start + np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def disc(x: float, y: float, radius: float) -> Mask:
    """The pixels whose centres lie in a circle: no polygon."""
    rows, columns = np.indices(SHAPE)
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def block(left: float, top: float, right: float, bottom: float) -> Mask:
    rows, columns = np.indices(SHAPE)
    return np.asarray((columns > left) & (columns < right) & (rows > top) & (rows < bottom))


def moved(points: Points, right: float) -> Points:
    return points + np.array([right, 0.0])


def keyhole(outer: Points, inner: Points) -> Points:
    """In along a line, around the hole the other way, and out along the same line."""
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1], outer[:1]])


OUTER, HOLE, CORE = circle(40.3, 45.2, 14), circle(40.3, 45.2, 9), circle(40.3, 45.2, 4)
WHOLE, GAP, ISLAND = disc(40.3, 45.2, 14), disc(40.3, 45.2, 9), disc(40.3, 45.2, 4)
RING = WHOLE & ~GAP
KEYHOLE = keyhole(OUTER, HOLE)
JITTER = np.random.default_rng(0).uniform(-0.2, 0.2, OUTER.shape)
SQUARE = rectangle(10.5, 10.5, 30.5, 30.5)

CASES: dict[str, tuple[list[Points], Mask, int]] = {
    "one": ([OUTER], WHOLE, 0),
    "the same twice": ([OUTER, OUTER], WHOLE, 0),
    "the same three times": ([OUTER, OUTER, OUTER], WHOLE, 0),
    "the same backwards": ([OUTER, OUTER[::-1]], WHOLE, 0),
    "the same from another point on": ([OUTER, np.roll(OUTER, 37, axis=0)], WHOLE, 0),
    "the same in 45 points": ([OUTER, circle(40.3, 45.2, 14, 45)], WHOLE, 0),
    "the same in 12 points": ([circle(40.3, 45.2, 14, 12, 0.1), OUTER], WHOLE, 0),
    "the same in 8 points": ([OUTER, circle(40.3, 45.2, 14, 8)], WHOLE, 0),
    "the same with noise": ([OUTER, OUTER + JITTER], WHOLE, 0),
    "the same 0.4 pixels beside": ([OUTER, moved(OUTER, -0.4)], WHOLE, 0),
    "the same a pixel beside": ([OUTER, moved(OUTER, 1)], WHOLE | disc(41.3, 45.2, 14), 0),
    "a hole": ([OUTER, HOLE], RING, 1),
    "a hole before what it lies in": ([HOLE, OUTER], RING, 1),
    "a hole backwards": ([OUTER, HOLE[::-1]], RING, 1),
    "a hole twice": ([OUTER, HOLE, circle(40.3, 45.2, 9, 40)[::-1]], RING, 1),
    "all twice": ([OUTER, HOLE, HOLE[::-1], OUTER], RING, 1),
    "a hole and again a pixel beside": ([OUTER, HOLE, moved(HOLE, 1)], RING & ~disc(41.3, 45.2, 9), 2),
    "an island in a hole": ([OUTER, HOLE, CORE], RING | ISLAND, 1),
    "an island in a hole, all twice": ([CORE, OUTER, HOLE, OUTER[::-1], HOLE, CORE[::-1]], RING | ISLAND, 1),
    "four deep": ([OUTER, HOLE, circle(40.3, 45.2, 6), CORE], RING | (disc(40.3, 45.2, 6) & ~ISLAND), 2),
    "two islands": ([circle(30, 45, 7), circle(60, 45, 7)], disc(30, 45, 7) | disc(60, 45, 7), 0),
    "two that cross": ([circle(40, 45, 9), circle(48, 45, 9)], disc(40, 45, 9) | disc(48, 45, 9), 0),
    "three that cross": (
        [circle(40, 45, 9), circle(48, 45, 9), circle(44, 52, 9)],
        disc(40, 45, 9) | disc(48, 45, 9) | disc(44, 52, 9),
        0,
    ),
    "two that cross, one with a hole": (
        [circle(40, 45, 12), circle(56, 45, 12), circle(36, 45, 4)],
        (disc(40, 45, 12) & ~disc(36, 45, 4)) | disc(56, 45, 12),
        1,
    ),
    "a hole in what two have in common": (
        [circle(40, 45, 14), circle(48, 45, 14), circle(44, 45, 3)],
        (disc(40, 45, 14) | disc(48, 45, 14)) & ~disc(44, 45, 3),
        1,
    ),
    "two side by side": ([SQUARE, rectangle(30.5, 10.5, 40.5, 30.5)], block(10, 10, 40.5, 30.5), 0),
    "a hole that touches the border": (
        [SQUARE, rectangle(10.5, 15.5, 20.5, 20.5)],
        block(10, 10, 30.5, 30.5) & ~block(10, 15.5, 20.5, 20.5),
        1,
    ),
    "a keyhole": ([KEYHOLE], RING, 0),
    "a keyhole twice": ([KEYHOLE, KEYHOLE[::-1]], RING, 0),
    "a keyhole and its hole again": ([KEYHOLE, HOLE], RING, 1),
    "an island in a keyhole": ([KEYHOLE, CORE], RING | ISLAND, 0),
    "partly outside the image": ([circle(2, 45.2, 12), circle(1, 45.2, 5)], disc(2, 45.2, 12) & ~disc(1, 45.2, 5), 1),
    "around the image": ([rectangle(-50, -50, 200, 200), HOLE], ~GAP, 1),
    "outside the image": ([circle(-50, -50, 9), circle(-50, -50, 5)], disc(0, 0, 0), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_contours_enclose_what_was_meant(name: str) -> None:
    contours, expected, holes = CASES[name]
    mask, taken_out = together(contours, SHAPE)
    # A circle of 90 points misses pixels whose centres lie within a hundredth of a pixel of it.
    assert np.count_nonzero(mask ^ expected) <= 2
    assert taken_out == holes


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_contours_does_not_matter(name: str) -> None:
    contours, _, _ = CASES[name]
    mask, holes = together(contours, SHAPE)
    for shift in range(1, len(contours)):
        again = together([*contours[shift:], *contours[:shift]], SHAPE)
        assert np.count_nonzero(again[0] ^ mask) <= 2
        assert again[1] == holes


def test_a_thousand_holes_take_no_time() -> None:
    places = [(x, y) for x in range(60, 460, 12) for y in range(60, 460, 12)][:1000]
    start = time.monotonic()
    mask, holes = together([circle(256, 256, 254, 2000), *(circle(x, y, 2.2, 20) for x, y in places)], (512, 512))
    assert time.monotonic() - start < 5
    assert 500 < holes <= 1000
    assert mask[256, 256 - 2]


def test_more_contours_than_any_structure_has_are_refused() -> None:
    with pytest.raises(ValueError, match="too many contours"):
        together([circle(256, 256, radius, 5) for radius in np.linspace(250, 200, 400)], (512, 512))
    with pytest.raises(ValueError, match="too many contours within contours"):
        together([circle(256, 256, radius, 12) for radius in np.linspace(250, 5, 110)], (512, 512))
