"""Where things lie at a site: state, results, images, models and the log of one run."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from client.data.context import StudyContext
from common.study.trials import Trial
from common.system.files import read_json, write_bytes, write_json


@dataclass(frozen=True)
class WorkFolder:
    """The folder of one trial of one run; whatever lies in it stays at the site.

    Attributes:
        folder: of the run: state, results and report.
        run: its name.
        log: of the site.
        trial: the first lies in the folder itself, the others in ``trials/<name>``.
    """

    folder: Path
    run: str
    log: logging.Logger
    trial: Trial = field(default_factory=Trial)

    @classmethod
    def of(cls, study: StudyContext) -> "WorkFolder":
        """Where ``study`` lies by the site's settings."""
        return cls(study.settings.run_folder(study.run), study.run, study.settings.log, study.trial)

    def within(self, trial: Trial) -> "WorkFolder":
        """That of another trial of the same run."""
        return replace(self, trial=trial)

    @property
    def run_state(self) -> Path:
        """What has to outlast a message and holds for the whole run."""
        return self.folder / "state" / self.run

    @property
    def state(self) -> Path:
        """What has to outlast a message of this trial: images that were made, and models of its own."""
        return self.run_state / self._place

    @property
    def results(self) -> Path:
        """The site's own results of this trial."""
        return self.folder / "results" / self._place

    def images(self, name: str) -> Path:
        """Slices that were made in this trial."""
        return self.state / "images" / f"{name}.npz"

    def site_model(self, arm: str) -> Path:
        """The weights of this site's own classifier of an arm of the first trial."""
        return self.run_state / "site_models" / f"{arm}.safetensors"

    def proxies(self, what: str, model: str) -> Path:
        """Synthetic slices that were ``released`` to other sites, or ``taken`` from them, for ``model``."""
        return self.run_state / "proxies" / f"{what}-{model}.safetensors"

    def update_result(self, name: str, key: str, value: Any) -> None:
        """Sets one entry of a JSON result, leaving the others."""
        path = self.results / name
        entries = read_json(path) if path.exists() else {}
        write_json(path, {**entries, key: value})

    def record_training(
        self, phase: str, server_round: int, losses: dict[str, float], steps: int, seconds: float
    ) -> None:
        """Adds a line to the training curves of the run; a repeated round replaces its earlier line."""
        path = self.folder / "results" / "training.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        lines = [line for line in lines if (line["phase"], line["round"]) != (phase, server_round)]
        lines.append(
            {"phase": phase, "round": server_round, "losses": losses, "steps": steps, "seconds": round(seconds, 2)}
        )
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    @property
    def _place(self) -> Path:
        return Path("trials", self.trial.name) if self.trial.name else Path()
