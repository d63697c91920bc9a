"""A run that has ended, as the coordinator's folder tells it: the study, its results, and each GAN's chosen round."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from common.errors import ConfigError
from common.export.provenance import Privacy, Provenance
from common.results.study import GanResult, Results, SiteEntry
from common.study.config import read_experiment
from common.study.experiment import Experiment
from common.study.models import Model, model_of
from common.study.phases import gan_phase
from common.training.build import site_view
from common.training.trainer import View
from server.checkpoint import PhaseCheckpoints
from server.report.build import read_results

_UNPRINTABLE = re.compile(r"[^\w .,+=:()@#-]")


@dataclass(frozen=True)
class FinishedGan:
    """One GAN of a finished run.

    Attributes:
        model: its configuration.
        result: what the study found of it.
        chosen_round: whose weights these are.
        weights: of the shared networks, as ``<network>.<key>``.
        sites: the sites that contributed up to the chosen round, by name.
        views: what they showed the model, each once.
    """

    model: Model
    result: GanResult
    chosen_round: int
    weights: dict[str, Tensor] = field(repr=False)
    sites: dict[str, SiteEntry]
    views: tuple[View, ...]


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended.

    Attributes:
        folder: of the run.
        experiment: its configuration.
        results: what it found.
    """

    folder: Path
    experiment: Experiment
    results: Results

    @classmethod
    def read(cls, folder: Path) -> "FinishedRun":
        """The run in ``folder``.

        Raises:
            ConfigError: if there is no run, it has not ended, or it is another version's.
        """
        folder = folder.resolve()
        config, source = folder / "config.yaml", folder / "results.json"
        for file in (config, source):
            if not file.is_file():
                raise ConfigError(
                    f"{folder}: there is no run (no {file.name} in it); give the folder of one, e.g. runs/latest"
                )
        results = read_results(source)
        if results.run.finished is None:
            raise ConfigError(
                f"{folder}: this run is not finished; go on with oncofed-simulation run resume={folder}, then export"
            )
        return cls(folder, read_experiment(config), results)

    def gan(self, name: str) -> FinishedGan:
        """The chosen round of the first run of a GAN.

        Raises:
            ConfigError: if the study has no such model, or the weights of its chosen round are gone.
        """
        if name not in self.results.gans:
            known = ", ".join(self.results.gans) or "none"
            raise ConfigError(f"--model {name}: this run has no such model; it has {known}")
        model, result = model_of(self.experiment, name), self.results.gans[name]
        checkpoints = PhaseCheckpoints(self.folder, gan_phase(name, 1))
        chosen = result.chosen_round
        if chosen is None:
            raise ConfigError(f"{self.folder}: no round of {name} was chosen; resume the run, then export")
        try:
            weights = checkpoints.weights(chosen)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{checkpoints.folder}: the weights of round {chosen} are gone; an export needs the run's checkpoints"
            ) from error
        contributors = {site for one in result.rounds if one.round <= chosen for site in one.contributors}
        sites = {site: entry for site, entry in sorted(self.results.sites.items()) if site in contributors}
        views = (site_view(self.experiment, model, entry.organ, entry.contrasts) for entry in sites.values())
        shown = sorted({view for view in views if view is not None}, key=lambda view: view.name)
        return FinishedGan(model, result, chosen, weights, sites, tuple(shown))

    def provenance(self, gan: FinishedGan) -> Provenance:
        """Where what is made with ``gan`` comes from; names are reduced to what fits into a table and DICOM."""
        return Provenance(
            model=gan.model.name,
            family=gan.model.family,
            run=_printable(self.results.run.name),
            round=gan.chosen_round,
            seed=self.results.run.seed,
            preset=_printable(self.experiment.name),
            privacy=self._guarantee(gan),
        )

    def _guarantee(self, gan: FinishedGan) -> Privacy | None:
        """What all of the study together cost the worst-off site; None unless every site that trained stated its cost.

        The whole study's and not this model's own: a model may rest on another one's weights or images.
        """
        found = self.results.privacy
        stated = [found.sites[site] for site in gan.sites if site in found.sites] if found is not None else []
        if not stated or len(stated) < len(gan.sites) or min(one.epsilon for one in stated) <= 0:
            return None
        return Privacy(epsilon=max(one.epsilon for one in stated), delta=max(one.delta for one in stated))


def _printable(name: str) -> str:
    """A name as :data:`~common.export.provenance.Name` allows it.

    >>> _printable("trial/3;x")
    'trial_3_x'
    """
    return _UNPRINTABLE.sub("_", name)[:64] or "_"
