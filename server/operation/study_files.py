"""The little that ``status`` needs of a study's files: it is asked often, and what checks all of them takes seconds."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import DamagedFileError
from common.system.safe_yaml import read_yaml


class Patience(BaseModel):
    """A study's own bounds, of the section ``strategy``; seconds, and for the quorum sites."""

    model_config = ConfigDict(frozen=True)

    deadline: float = 0.0
    gathering: float = 0.0
    returning: float = 0.0
    quorum: int = 0


class _Config(BaseModel):
    strategy: Patience


class _Site(BaseModel):
    quarantined: int | None = None


class _Results(BaseModel):
    sites: dict[str, _Site]


def patience_of(run_dir: Path) -> Patience:
    """How long a study waits for its sites; for nobody where there is no ``config.yaml`` yet.

    Raises:
        DamagedFileError: if the file does not say.
    """
    config = run_dir / "config.yaml"
    try:
        return _Config.model_validate(read_yaml(config.read_text(encoding="utf-8"))).strategy
    except FileNotFoundError:
        return Patience()
    except (ValueError, yaml.YAMLError) as error:
        raise DamagedFileError(config, "is no study's configuration") from error


def quarantined_in(run_dir: Path) -> dict[str, int]:
    """Studies that were left out, by site, for the sites that tell; empty where there is no ``results.json`` yet.

    Raises:
        DamagedFileError: if the file does not say.
    """
    results = run_dir / "results.json"
    try:
        sites = _Results.model_validate_json(results.read_bytes()).sites
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise DamagedFileError(results, "holds no study's results") from error
    return {name: site.quarantined for name, site in sites.items() if site.quarantined}
