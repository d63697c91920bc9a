"""What the coordinator keeps of a finished round."""

from collections import Counter
from collections.abc import Sequence

from common.figures.figure import ImageScores
from common.results.study import GanRound


class RoundRecord(GanRound):
    """One round of a federated training, whatever is trained; ``scores`` is empty where the coordinator makes none.

    Attributes:
        counted: by site, the last exchange in which its reply counted.
        norms: of each contributor's update, in the order of ``contributors``; of every exchange one after another
            where a round has many.
        choice: what the best round is chosen by, higher is better; None: the last one is chosen.
    """

    scores: dict[str, ImageScores] = {}
    counted: dict[str, int]
    norms: list[float]
    choice: float | None = None
    seconds: float = 0.0


def chosen_round(records: Sequence[RoundRecord]) -> int:
    """The round with the highest choice figure; the last one where there is none. ``records`` is not empty."""
    scored = [record for record in records if record.choice is not None]
    return max(scored, key=lambda record: record.choice or 0.0).round if scored else records[-1].round


def contributors(records: Sequence[RoundRecord]) -> dict[str, int]:
    """By site, in how many rounds its update counted, of those up to the one that ``records`` choose.

    >>> first = RoundRecord(round=1, contributors=["a", "b"], counted={}, norms=[])
    >>> contributors([first, RoundRecord(round=2, contributors=["a"], counted={}, norms=[])])
    {'a': 2, 'b': 1}
    """
    chosen = chosen_round(records)
    counted = Counter(site for record in records if record.round <= chosen for site in record.contributors)
    return dict(sorted(counted.items()))


def last_counted(records: Sequence[RoundRecord]) -> dict[str, int]:
    """By site, the last exchange in which its reply counted; none of a site of which no reply has."""
    return {site: number for record in records for site, number in record.counted.items()}
