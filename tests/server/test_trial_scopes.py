"""What a trial tells of each scope, and of the sites' own classifiers together."""

import pytest
from classifier_scores import between, classifier_scores

from common.results.classifier import SITES, ClassifierScores
from server.trials import scopes_of


def scores(accuracy: float, gain: float) -> ClassifierScores:
    one = between(accuracy, accuracy - 0.1, accuracy + 0.1)
    over = between(gain, gain - 0.1, gain + 0.1)
    return classifier_scores(
        accuracy=one, precision=one, recall=one, f1=one, auc=one, accuracy_gain=over, auc_gain=over
    )


def test_the_mean_over_sites_has_the_arms_that_all_of_them_trained() -> None:
    sites = {
        "north": {"real": scores(0.7, 0.0), "real_synthetic": scores(0.8, 0.1), "blob": scores(0.6, -0.1)},
        "south": {"real": scores(0.5, 0.0), "real_synthetic": scores(0.7, 0.2)},
        "untold": {},
    }
    found = scopes_of(sites, {}, {})
    assert list(found) == ["north", "south", SITES]
    assert list(found[SITES]) == ["real", "real_synthetic"]
    gain = found[SITES]["real_synthetic"]["accuracy", "", "real_only"]
    assert gain is not None
    assert gain.value == pytest.approx(0.15)
    # Two independent errors of the same size: their mean's is smaller by the root of two.
    assert gain.low == pytest.approx(0.15 - 0.1 / 2**0.5, abs=1e-3)


def test_one_site_has_no_mean_beside_it() -> None:
    assert list(scopes_of({"north": {"real": scores(0.7, 0.0)}}, {"real": scores(0.6, 0.0)}, {})) == [
        "north",
        "federated",
    ]
