import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.imaging.split import everything_is_test, part_sizes, split_patients
from common.study.experiment import SplitConfig

FRACTIONS = SplitConfig(0.7, 0.2, 0.1)

cohorts = st.dictionaries(st.text(min_size=1, max_size=8), st.booleans(), min_size=1, max_size=60).map(
    lambda by_name: list(by_name.items())
)
sizes = st.one_of(
    st.just(FRACTIONS),
    st.builds(SplitConfig, *(st.integers(0, 25).map(float) for _ in range(3))).filter(
        lambda split: split.train + split.validation + split.test > 0
    ),
)


def cohort(tumour: int, healthy: int) -> list[tuple[str, bool]]:
    return [(f"patient{n}", n < tumour) for n in range(tumour + healthy)]


@settings(deadline=None)
@given(cohorts, sizes)
def test_every_patient_is_in_exactly_one_place(patients, split) -> None:
    parts = split_patients(patients, split)
    together = [*parts.train, *parts.validation, *parts.test, *parts.unused]
    assert sorted(together) == sorted(name for name, _ in patients)


@settings(deadline=None)
@given(cohorts, sizes, st.randoms())
def test_the_split_does_not_depend_on_the_order(patients, split, random) -> None:
    shuffled = list(patients)
    random.shuffle(shuffled)
    assert split_patients(shuffled, split) == split_patients(patients, split)


@settings(deadline=None)
@given(cohorts, sizes)
def test_tumours_are_shared_out_in_proportion(patients, split) -> None:
    has_tumour = dict(patients)
    parts = split_patients(patients, split)
    share = sum(has_tumour.values()) / len(patients)
    assert abs(sum(has_tumour[name] for name in parts.test) - share * len(parts.test)) <= 0.5 + 1e-9
    for part in (parts.validation, parts.train):
        assert abs(sum(has_tumour[name] for name in part) - share * len(part)) <= 2


@settings(deadline=None)
@given(cohorts, sizes)
def test_there_is_a_training_patient_wherever_one_is_wanted(patients, split) -> None:
    if split.train > 0:
        assert split_patients(patients, split).train


@settings(deadline=None)
@given(cohorts)
def test_fractions_hold_to_one_patient_in_cohorts_of_ten_or_more(patients) -> None:
    parts = split_patients(patients, FRACTIONS)
    assert not parts.unused
    if len(patients) >= 10:
        for names, fraction in ((parts.train, 0.7), (parts.validation, 0.2), (parts.test, 0.1)):
            assert abs(len(names) - fraction * len(patients)) <= 1


@settings(deadline=None)
@given(cohorts, st.integers(1, 20), st.integers(1, 20))
def test_exact_counts_leave_the_test_part_alone_when_more_patients_train(patients, fewer, more) -> None:
    if 3 + 2 + max(fewer, more) <= len(patients):
        one = split_patients(patients, SplitConfig(train=fewer, validation=2, test=3))
        other = split_patients(patients, SplitConfig(train=more, validation=2, test=3))
        assert (one.test, one.validation) == (other.test, other.validation)
        assert (len(one.train), len(one.validation), len(one.test)) == (fewer, 2, 3)


def test_exact_counts_leave_spare_patients_unused() -> None:
    parts = split_patients(cohort(28, 12), SplitConfig(8, 2, 20))
    assert [len(p) for p in (parts.train, parts.validation, parts.test, parts.unused)] == [8, 2, 20, 10]
    assert sum(int(name.removeprefix("patient")) < 28 for name in parts.test) == 14


def test_fewer_patients_than_asked_for_are_shared_in_proportion() -> None:
    assert part_sizes(15, SplitConfig(8, 2, 20)) == (10, 1, 4)
    assert part_sizes(2, SplitConfig(8, 2, 20)) == (1, 0, 1)
    assert part_sizes(1, SplitConfig(8, 2, 20)) == (0, 0, 1)


def test_the_split_never_changes_between_releases() -> None:
    parts = split_patients(cohort(7, 3), FRACTIONS)
    assert parts.test == ("patient3",)
    assert parts.validation == ("patient1", "patient7")


def test_another_name_is_another_place_whatever_the_position() -> None:
    tests = {split_patients([(f"{site}{n}", True) for n in range(10)], FRACTIONS).test[0][-1] for site in "abcdefgh"}
    assert len(tests) > 2


def test_an_external_centre_only_tests() -> None:
    parts = everything_is_test(cohort(2, 1))
    assert parts.test == ("patient0", "patient1", "patient2")
    assert not parts.train
    assert not parts.validation


@pytest.mark.parametrize(
    ("patients", "split", "message"),
    [
        ([], FRACTIONS, "no patient"),
        ([("a", True), ("a", False)], FRACTIONS, "twice"),
        ([("a", True)], SplitConfig(0, 0, 0), "three fractions"),
        ([("a", True)], SplitConfig(-1, 1, 1), "three fractions"),
        ([("a", True)], SplitConfig(0.5, 0.2, 0.1), "three fractions"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(patients, split, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_patients(patients, split)
