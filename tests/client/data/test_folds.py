"""Folds by patient: nobody is left out twice, nobody tests who trains, and it all follows from the names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.folds import fewer_patients, fold_members, fold_split
from common.errors import ConfigError
from common.imaging.split import split_patients
from common.study.experiment import SplitConfig

PATIENTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=5), st.booleans(), min_size=6, max_size=40)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(2, 5), st.integers(1, 3))
def test_each_patient_is_left_out_once_and_folds_are_even(patients: dict[str, bool], folds: int, run: int) -> None:
    members = fold_members(list(patients.items()), folds, run)
    assert sorted(name for fold in members for name in fold) == sorted(patients)
    sizes = [len(fold) for fold in members]
    assert max(sizes) - min(sizes) <= 1
    tumours = [sum(patients[name] for name in fold) for fold in members]
    assert max(tumours) - min(tumours) <= 1
    assert members == fold_members(list(reversed(patients.items())), folds, run)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(2, 3))
def test_a_fold_takes_from_training_and_never_from_the_test(patients: dict[str, bool], folds: int) -> None:
    split = split_patients(list(patients.items()), SplitConfig(0.5, 0.2, 0.3))
    if len(split.train) + len(split.validation) < folds:
        return
    for fold in range(1, folds + 1):
        one = fold_split(split, patients, folds=folds, fold=fold, run=1)
        assert one.test == split.test
        assert not set(one.train) & set(one.validation)
        assert {*one.train, *one.validation} == {*split.train, *split.validation}


def test_another_run_deals_the_patients_anew() -> None:
    pool = [(f"p{number}", number % 2 == 0) for number in range(20)]
    assert fold_members(pool, 5, 1) != fold_members(pool, 5, 2)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(1, 12))
def test_fewer_patients_are_among_more_of_them(patients: dict[str, bool], most: int) -> None:
    few = fewer_patients(list(patients), patients, most=most)
    more = fewer_patients(list(patients), patients, most=most + 1)
    assert len(few) == min(most, len(patients))
    assert set(few) <= set(more) or abs(sum(map(patients.get, few)) - sum(map(patients.get, more))) <= 1
    assert set(fewer_patients(list(patients), patients)) == set(patients)
    assert sum(patients[name] for name in fewer_patients(list(patients), patients, most_tumour=1)) <= 1


def test_what_cannot_be_is_refused() -> None:
    split = split_patients([("a", True), ("b", False), ("c", True)], SplitConfig(2, 0, 1))
    tumour = {"a": True, "b": False, "c": True}
    with pytest.raises(ConfigError, match=r"study\.folds=5: there are only 2 patients"):
        fold_split(split, tumour, folds=5, fold=1, run=1)
    with pytest.raises(ConfigError, match="fold 3 does not exist"):
        fold_split(split, tumour, folds=2, fold=3, run=1)
