"""A piece of the page that is replaced by itself when it changes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup


@dataclass(frozen=True)
class Part:
    """One section of the page.

    Attributes:
        anchor: its ``id``.
        html: what is in it, escaped.
    """

    anchor: str
    html: Markup

    @cached_property
    def version(self) -> str:
        """Equal for equal content, also in another process."""
        return hashlib.sha256(self.html.encode()).hexdigest()[:16]
