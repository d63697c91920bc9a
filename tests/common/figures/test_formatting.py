"""Figures are written with fixed decimals, and a missing one is never a number."""

import math

import pytest

from common.figures.formatting import AUC, DECIBEL, MISSING, PERCENT, declared, duration, listed, significant
from common.metrics.bootstrap import Estimate


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def test_percentages_have_one_decimal_auc_three_and_decibels_one() -> None:
    assert plain(PERCENT.text(0.98765)) == "98.8 %"
    assert AUC.text(0.98765) == "0.988"
    assert plain(DECIBEL.text(31.26)) == "31.3 dB"


def test_an_interval_is_written_with_its_bounds() -> None:
    assert plain(PERCENT.interval(Estimate(value=0.861, low=0.81, high=0.904))) == "86.1 % (81.0 to 90.4)"
    assert plain(DECIBEL.signed.interval(Estimate(value=1.34, low=-0.62, high=2.07))) == "+1.3 dB (-0.6 to +2.1)"


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_figure_is_a_dash(missing: float | None) -> None:
    assert PERCENT.text(missing) == MISSING
    assert significant(missing) == MISSING
    assert AUC.interval(Estimate(value=None)) == MISSING


def test_a_mean_without_bounds_says_so() -> None:
    assert AUC.interval(Estimate(value=0.5)) == "0.500 (no interval)"
    assert AUC.bounds(Estimate(value=0.5, low=0.4)) == ""


def test_zero_has_no_sign() -> None:
    assert DECIBEL.signed.number(-0.01) == "0.0"
    assert PERCENT.signed.number(0.0) == "0.0"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.000012345, "1.23e-05"), (0.5, "0.500"), (-31.0, "-31.0"), (math.inf, "inf")]
)
def test_figures_without_a_unit_have_three_significant_digits(value: float, text: str) -> None:
    assert plain(significant(value)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (4.21, "4.2 s"), (99.96, "1 min 40 s"), (3600.0, "1 h 0 min"), (7322, "2 h 2 min")],
)
def test_durations_are_told_in_the_largest_two_units(seconds: float | None, text: str) -> None:
    assert plain(duration(seconds)) == text


def test_an_undeclared_count_is_said_to_be_undeclared() -> None:
    assert declared(None) == "not declared"
    assert declared(0) == "0"


def test_lists_read_as_english() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
