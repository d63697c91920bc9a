"""The keys of ``site.yaml`` that name paths: counted from its folder, and looked at before anything is begun."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from common.errors import ConfigError
from common.study.experiment_paths import DOWNLOAD
from common.system.paths import Use, expanded, impossible, unusable


def with_whole_paths(values: dict[str, Any], here: Path, section: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """The values of a section with its paths counted from ``here``.

    Raises:
        ValueError: for what can be no path of its use, naming the key.
    """

    def whole(key: str, text: str, use: Use, base: Path) -> Path:
        try:
            found = base / expanded(text)
        except ValueError as error:
            raise ValueError(f"{prefix}{key}: {text!r} {error}") from error
        if problem := impossible(found, use):
            raise ValueError(f"{prefix}{key}: {found}: {problem}; name another one")
        return found

    made = dict(values)
    for key, use in uses_of(section).items():
        value = values.get(key)
        if isinstance(value, str):
            made[key] = whole(key, value, use, here)
        elif isinstance(value, dict):
            for name, text in value.items():
                # Paths of weights count from the folder in which a command is given, and stay as they are.
                if isinstance(text, str) and text != DOWNLOAD:
                    whole(f"{key}.{name}", text, use, Path())
    return made


def uses_of(section: type[BaseModel]) -> dict[str, Use]:
    """The keys of a section of ``site.yaml`` that name paths, and what each is for."""
    uses = {key: [one for one in field.metadata if isinstance(one, Use)] for key, field in section.model_fields.items()}
    return {key: marks[0] for key, marks in uses.items() if marks}


def require_usable_paths(settings: BaseModel) -> None:
    """Refuses folders that cannot be written to and files that are not there, before anything is begun.

    The folder of the data is the reader's to look at: whether it is there is told with what it holds.

    Args:
        settings: of a site (:class:`client.site.SiteSettings`), its sections included.

    Raises:
        ConfigError: naming the key of ``site.yaml`` and what is wrong.
    """
    inner = [(f"{name}.", value) for name, value in settings if isinstance(value, BaseModel)]
    for prefix, section in [("", settings), *inner]:
        for key, use in uses_of(type(section)).items():
            path = getattr(section, key)
            if isinstance(path, Path) and use is not Use.DATA and (problem := unusable(path, use)):
                raise ConfigError(f"site.yaml: {prefix}{key}: {path}: {problem}; name another one")
