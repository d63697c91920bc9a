"""What the ServerApp needs to know besides the messages: the study, where to write, whom to tell."""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flwr.app import Context

from common.errors import ConfigError
from common.study.config import compose, from_yaml, to_yaml
from common.study.experiment import Experiment
from common.study.progress import NoProgress, StudyProgress
from common.system.files import read_json, write_json

log = logging.getLogger("oncofed.server")


@dataclass(frozen=True)
class StudySettings:
    """One study.

    Attributes:
        experiment: resolved configuration.
        name: the run's name.
        run_dir: where checkpoints, results and the report go.
        sites: how many nodes are waited for.
        expected: names of the sites that are to take part, where nodes are registered by name; empty where they are
            not.
        reference: organ -> folder of the coordinator's reference set, with its three parts.
        cache_dir: where the prepared reference set is kept.
        progress: told of every step.
        engine: what carries the messages, for the report.
        registry: the list of sites, where nodes are registered by name.
        demo_cohort: whether the data are the demo cohort's, so that its limits are printed.
    """

    experiment: Experiment
    name: str
    run_dir: Path
    sites: int
    reference: dict[str, Path]
    cache_dir: Path
    progress: StudyProgress
    engine: str
    demo_cohort: bool = False
    expected: tuple[str, ...] = ()
    registry: Path | None = None

    @cached_property
    def told(self) -> str:
        """The experiment as every message carries it: YAML without the paths of this machine."""
        return to_yaml(self.experiment, leaving=True)


FINISHED = Path("checkpoints", "finished.json")
"""Says when the run ended; not there while it has not."""

PLACES = Path("checkpoints", "places.json")
"""Where the coordinator's own data lay; the configuration does not say it of data that a run made or found itself."""


def keep_places(settings: StudySettings) -> None:
    """Notes in the run's folder where its reference sets and their cache are, for what is done after the run."""
    reference = {organ: str(path) for organ, path in settings.reference.items()}
    write_json(settings.run_dir / PLACES, {"reference": reference, "cache_dir": str(settings.cache_dir)})


def settings_after_run(run_dir: Path, experiment: Experiment) -> StudySettings:
    """The settings of a run that has ended, for reading its reference sets again."""
    places = read_json(run_dir / PLACES) if (run_dir / PLACES).exists() else {}
    named = {organ: str(one.path) for organ, one in experiment.reference.items() if one.path}
    cache_dir = places.get("cache_dir", Path(experiment.simulation.cache_dir) / "prepared")
    return StudySettings(
        experiment=experiment,
        name=run_dir.name,
        run_dir=run_dir,
        sites=len(experiment.site),
        reference={organ: Path(path) for organ, path in {**named, **places.get("reference", {})}.items()},
        cache_dir=Path(cache_dir),
        progress=NoProgress(),
        engine=experiment.simulation.engine,
    )


def settings_from_run_config(context: Context) -> StudySettings:
    """The settings of a run that was started with ``flwr run``.

    Its run config names the ``output`` folder. The study is the ``config.yaml`` in it, as ``oncofed-server run`` wrote
    it, or what ``overrides`` (a JSON list) say. ``expected`` holds names of sites with commas, ``sites`` a number where
    they have none, ``registry`` the list of sites. What ``question-key`` names is read in ``server/deployed.py``.

    Raises:
        ConfigError: if something is missing or malformed.
    """
    config = context.run_config
    output = str(config.get("output", ""))
    if not output:
        raise ConfigError("run config: output must name the folder of the run")
    run_dir = Path(output).expanduser().resolve()
    experiment = _experiment(str(config.get("overrides", "[]")), run_dir / "config.yaml")
    reference = {organ: Path(ref.path).expanduser() for organ, ref in experiment.reference.items() if ref.path}
    if not reference:
        raise ConfigError(
            "reference.<organ>.path must name the coordinator's reference set of at least one organ of the study "
            f"({', '.join(experiment.organs)})"
        )
    expected = tuple(name for name in str(config.get("expected", "")).split(",") if name)
    return StudySettings(
        experiment=experiment,
        name=run_dir.name,
        run_dir=run_dir,
        sites=len(expected) or int(config.get("sites", 0)) or len(experiment.site),
        reference=reference,
        cache_dir=Path(experiment.simulation.cache_dir) / "reference",
        progress=NoProgress(),
        engine="flower",
        expected=expected,
        registry=Path(registry) if (registry := str(config.get("registry", ""))) else None,
    )


def _experiment(overrides: str, written: Path) -> Experiment:
    try:
        items = json.loads(overrides)
    except json.JSONDecodeError as error:
        raise ConfigError(f'run config: overrides must be a JSON list such as ["preset=demo"] ({error})') from error
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError('run config: overrides must be a JSON list such as ["preset=demo"]')
    return from_yaml(written.read_text(encoding="utf-8")) if written.is_file() and not items else compose(items)
