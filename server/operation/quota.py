"""How much of this machine the nodes of a federation may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """How much nodes may have stored here that no study has fetched yet, in bytes.

    Attributes:
        site: of one site.
        total: of all together.
    """

    site: int
    total: int
