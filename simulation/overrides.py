"""What is given to ``oncofed-simulation run``: keys of the study, and two words about how it is carried out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from common.errors import ConfigError
from common.system.outside import quoted

RESUME, DASHBOARD = "resume=", "dashboard="
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True)
class RunOverrides:
    """
    Attributes:
        study: overrides of the study's own keys.
        resume: the folder of a run to go on with; None for a new one.
        dashboard: whether the study is served as a page while it runs.
    """

    study: list[str]
    resume: Path | None = None
    dashboard: bool = False

    @classmethod
    def parse(cls, overrides: Sequence[str]) -> Self:
        """Takes the words apart; of one that is given twice the last one counts.

        Raises:
            ConfigError: for a dashboard that is neither on nor off.

        >>> RunOverrides.parse(["seed=2", "dashboard=true"])
        RunOverrides(study=['seed=2'], resume=None, dashboard=True)
        """
        study: list[str] = []
        resume, dashboard = None, False
        for item in overrides:
            if item.startswith(RESUME):
                resume = Path(item.removeprefix(RESUME))
            elif item.startswith(DASHBOARD):
                given = item.removeprefix(DASHBOARD)
                if given.lower() not in _SWITCH:
                    raise ConfigError(f"dashboard={quoted(given)}: is true or false")
                dashboard = _SWITCH[given.lower()]
            else:
                study.append(item)
        return cls(study, resume, dashboard)
