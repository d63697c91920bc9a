"""How much each site counted in an average, as it stands in a study's results."""

from common.figures.record import Record


class Shares(Record):
    """The average of some networks.

    Attributes:
        networks: that were averaged alike.
        sites: share of each site; they sum to 1.
    """

    networks: list[str]
    sites: dict[str, float]
