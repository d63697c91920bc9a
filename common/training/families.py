"""The families of models by name: each is a module beside this one."""

import importlib
import re
from typing import Any

from common.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def trainer_module(name: str, key: str = "") -> Any:
    """The module ``common.training.<name>`` with its ``Config`` and ``Trainer``; ``key`` says where it was named.

    Raises:
        ConfigError: if there is no such model; only files beside this one can be named.
    """
    where = f"{key}={name}: " if key else ""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}unknown model {name!r}")
    try:
        module = importlib.import_module(f"common.training.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"common.training.{name}":
            raise
        raise ConfigError(f"{where}unknown model {name!r}: there is no common/training/{name}.py") from error
    if not hasattr(module, "Config") or not hasattr(module, "Trainer"):
        raise ConfigError(f"{where}unknown model {name!r}: common/training/{name}.py trains none")
    return module
