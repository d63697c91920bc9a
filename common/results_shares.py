"""How much each site counted in an average, as it stands in a study's results."""

from pydantic import BaseModel, ConfigDict


class Shares(BaseModel):
    """The average of some networks.

    Attributes:
        networks: that were averaged alike.
        sites: share of each site; they sum to 1.
    """

    model_config = ConfigDict(extra="forbid")

    networks: list[str]
    sites: dict[str, float]
