"""What the study report says of a generator, by the kind of its scores: one file a kind, one shape."""

from typing import Any

from common.results import Scores
from server.report.kinds.cycle import Cycle
from server.report.kinds.kind import Kind
from server.report.kinds.nearest import Nearest
from server.report.kinds.paired import Paired
from server.report.kinds.translation import Translated

KINDS: dict[str, Kind[Any, Any]] = {
    "paired": Paired(),
    "nearest": Nearest(),
    "cycle": Cycle(),
    "translation": Translated(),
}
"""By ``GanResult.score``, which is also the ``kind`` of every one of its scores."""


def kind_of(scores: Scores) -> Kind[Any, Any]:
    """The kind that these scores are of."""
    return KINDS[scores.kind]  # type: ignore[attr-defined]
