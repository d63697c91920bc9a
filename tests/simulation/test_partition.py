import pytest

from common.errors import ConfigError
from common.study.simulated import PartitionConfig
from simulation.partition import share_out

PATIENTS = [(f"patient-{number:03d}", number % 3 > 0) for number in range(100)]
TUMOUR = dict(PATIENTS)


def tumours(share: tuple[str, ...]) -> int:
    return sum(TUMOUR[name] for name in share)


@pytest.mark.parametrize("scheme", ["even", "dirichlet"])
@pytest.mark.parametrize("sites", [1, 3, 30])
def test_every_patient_goes_to_exactly_one_site(scheme: str, sites: int) -> None:
    shares = share_out(PATIENTS, PartitionConfig(sites=sites, scheme=scheme, alpha=0.1), seed=1)
    assert len(shares) == sites
    assert sorted(name for share in shares for name in share) == sorted(TUMOUR)


def test_even_shares_differ_by_at_most_one_patient_and_one_tumour() -> None:
    shares = share_out(PATIENTS, PartitionConfig(sites=7), seed=1)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert max(map(tumours, shares)) - min(map(tumours, shares)) <= 1


def test_a_small_alpha_skews_sizes_and_shares_of_tumours_and_a_large_one_does_not() -> None:
    def spread(alpha: float) -> tuple[int, float]:
        shares = share_out(PATIENTS, PartitionConfig(sites=5, scheme="dirichlet", alpha=alpha, least=3), seed=2)
        rates = [tumours(share) / len(share) for share in shares]
        return max(map(len, shares)) - min(map(len, shares)), max(rates) - min(rates)

    skewed, balanced = spread(0.2), spread(1000.0)
    assert skewed[0] > 20
    assert skewed[1] > 0.3
    assert balanced[0] <= 4
    assert balanced[1] < 0.1


def test_no_site_has_fewer_patients_than_asked_for() -> None:
    for seed in range(20):
        shares = share_out(PATIENTS, PartitionConfig(sites=20, scheme="dirichlet", alpha=0.05, least=3), seed=seed)
        assert min(map(len, shares)) >= 3


def test_the_shares_follow_from_the_seed_and_not_from_the_order_of_the_patients() -> None:
    partition = PartitionConfig(sites=4, scheme="dirichlet")
    assert share_out(PATIENTS, partition, 1) == share_out(PATIENTS[::-1], partition, 1)
    assert share_out(PATIENTS, partition, 1) != share_out(PATIENTS, partition, 2)


def test_too_few_patients_are_an_error_that_says_what_to_lower() -> None:
    with pytest.raises(ConfigError, match=r"100 patients cannot be shared out over 50 sites with at least 3"):
        share_out(PATIENTS, PartitionConfig(sites=50), seed=1)
