"""Several comparisons at once: with six of them at the level 0.05, one in four studies of nothing finds something."""

import gc
from collections.abc import Hashable, Mapping
from typing import TypeVar

from statsmodels.stats.multitest import multipletests

from common.results.statistics import Holm

Key = TypeVar("Key", bound=Hashable)


def holm(probabilities: Mapping[Key, float | None]) -> dict[Key, Holm | None]:
    """Each comparison's probability adjusted for the size of its family, by Holm's step-down procedure.

    The chance of one false finding or more in the whole family is kept, whatever the comparisons have to do with each
    other, and no finding of Bonferroni's is lost.

    Args:
        probabilities: by comparison; None where a test was undefined. Such a comparison could not have found anything:
            it gets None and is not counted.

    Raises:
        ValueError: if a probability is NaN or outside 0 to 1.

    Source: Holm 1979; statsmodels' ``multipletests``.

    >>> adjusted = holm({"a": 0.01, "b": 0.04, "c": None})
    >>> adjusted["a"], adjusted["c"]
    (Holm(p=0.02, family=2), None)
    """
    defined = {key: p for key, p in probabilities.items() if p is not None}
    if any(not 0 <= p <= 1 for p in defined.values()):
        raise ValueError("a probability is NaN or outside 0 to 1")
    if not defined:
        return dict.fromkeys(probabilities)
    # Statsmodels collects garbage in each call: half a second where networks are loaded, unless they are out of sight.
    gc.freeze()
    try:
        _, adjusted, _, _ = multipletests(list(defined.values()), method="holm")
    finally:
        gc.unfreeze()
    found = {key: Holm(p=float(p), family=len(defined)) for key, p in zip(defined, adjusted, strict=True)}
    return {key: found.get(key) for key in probabilities}
