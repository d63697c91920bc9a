"""A training that came to values which are no numbers: nothing of it is sent or kept, so that one bad step is one."""

from collections.abc import Mapping

from torch import Tensor

from common.errors import RefusalError
from common.training.finite import all_finite


def require_finite(section: str, *results: Mapping[str, Tensor] | Mapping[str, float]) -> None:
    """Refuses what a training came to unless every number of it is finite.

    Optimisers remember: a single such gradient would be in every later step that starts from their state.

    Args:
        section: of the study's configuration that its rates stand in, e.g. ``models.cgan``.
        results: weights, private state, losses.

    Raises:
        RefusalError: with a text that may leave: whether the weights are finite would show in them as well.
    """
    if not all(all_finite(values.values()) for values in results):
        raise RefusalError(
            "its training came to values that are not finite, and nothing of it was kept; a lower learning rate in "
            f"{section} may help"
        )
