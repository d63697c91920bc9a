import pytest
import torch
from scipy.spatial.distance import cdist

from common.metrics.distances import squared_distances


def test_distances_equal_scipys():
    random = torch.Generator().manual_seed(1)
    a, b = torch.randn(7, 30, generator=random), torch.randn(9, 30, generator=random) * 3
    expected = cdist(a.double().numpy(), b.double().numpy(), "sqeuclidean")
    torch.testing.assert_close(squared_distances(a, b), torch.from_numpy(expected), rtol=1e-10, atol=0)


def test_near_rows_far_from_the_origin_keep_their_digits():
    offset = torch.tensor([[1e4, -1e4, 1e4]], dtype=torch.float64)
    random = torch.Generator().manual_seed(1)
    a, b = (torch.randn(6, 3, generator=random, dtype=torch.float64) * 1e-2 + offset for _ in range(2))
    expected = torch.from_numpy(cdist(a.numpy(), b.numpy(), "sqeuclidean"))
    torch.testing.assert_close(squared_distances(a, b), expected, rtol=1e-6, atol=0)


def test_equal_rows_are_exactly_0_apart():
    rows = torch.rand(50, 999, generator=torch.Generator().manual_seed(1))
    assert (squared_distances(rows, rows).diagonal() == 0).all()
    assert (squared_distances(rows.flip(0), rows) == 0).sum() == 50
    assert (squared_distances(torch.full((4, 7), 0.1), torch.full((3, 7), 0.1)) == 0).all()


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), "expected rows"),
        (torch.zeros(3), torch.zeros(2, 3), "expected rows"),
        (torch.zeros(0, 3), torch.zeros(2, 3), "expected rows"),
        (torch.full((2, 3), torch.nan), torch.zeros(2, 3), "not finite"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.inf), "not finite"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(a, b, text):
    with pytest.raises(ValueError, match=text):
        squared_distances(a, b)
