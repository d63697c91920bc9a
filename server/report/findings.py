"""The figures that the answer rests on: which arms there were, what they gained and what the tests found."""

from collections.abc import Mapping

from common.figures.formatting import Interval
from common.results.classifier import FEDERATED, SITES, PooledGain
from common.results.statistics import Comparison
from common.results.study import Results

SYNTHETIC, AUGMENTED, REAL, LOCAL = "synthetic", "real_synthetic", "real", "local_generator"
LEVEL = 0.05
"""Below this, adjusted for the number of comparisons, a test is taken to have found a difference."""


def arms(results: Results) -> list[str]:
    """The arms of the study: those that it scored and those that its configuration names."""
    study = results.run.config.get("study")
    asked = study.get("arms") if isinstance(study, Mapping) else None
    scored = [arm for by_arm in results.arms.values() for arm in by_arm]
    return list(dict.fromkeys([*scored, *(str(arm) for arm in asked or [])]))


def used_generator(results: Results) -> str:
    """The GAN whose images the arms use, as the study's configuration says or its order gives; empty if unknown."""
    study = results.run.config.get("study")
    named = study.get("generator") if isinstance(study, Mapping) else None
    if isinstance(named, str) and named in results.gans:
        return named
    return next((name for name, gan in results.gans.items() if gan.protocol in ("paired", "nearest")), "")


def gain_of(results: Results, scope: str, arm: str) -> PooledGain | None:
    """An arm's gain in one scope; None if it was not measured or was withheld."""
    found = (one for one in results.gains if (one.scope, one.arm) == (scope, arm))
    return next((one for one in found if one.accuracy.value is not None), None)


def comparison_of(results: Results, scope: str, arm: str, against: str) -> Comparison | None:
    """The tests of one arm's accuracy against another's; None without a cross-validation, or without a p-value."""
    tables = (table for table in results.comparisons.get(scope, []) if table.score == "accuracy")
    found = (one for table in tables for one in table.comparisons if (one.arm, one.against) == (arm, against))
    return next((one for one in found if one.corrected.p is not None and one.corrected_holm is not None), None)


def lead(results: Results) -> str:
    """Whose classifiers the answer speaks of: the federation's, or in a study of several organs those of single sites.

    One classifier of several organs is no site's choice, and its gain would speak of how badly they go together.
    """
    several = len({site.organ for site in results.sites.values() if "train" in site.roles}) > 1
    return SITES if several and gain_of(results, SITES, AUGMENTED) is not None else FEDERATED


def side(gain: Interval) -> int:
    """1 for an interval above zero, -1 for one below it, 0 for one that holds zero or is not known."""
    if gain.low is not None and gain.low > 0:
        return 1
    return -1 if gain.high is not None and gain.high < 0 else 0


def found_by_test(comparison: Comparison) -> int:
    """The sign of what the corrected test found at the level, after Holm's correction; 0 for nothing."""
    mean, adjusted = comparison.corrected.mean, comparison.corrected_holm
    if mean is None or adjusted is None or adjusted.p >= LEVEL:
        return 0
    return 1 if mean > 0 else -1
