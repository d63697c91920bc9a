"""A section of a configuration as an object of its schema."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.study.allowed import refused
from common.study.schema_errors import misfit, require_shape


@cache
def _blank(schema: type) -> DictConfig:
    """A section with its defaults; merging copies it."""
    made = OmegaConf.structured(schema)
    assert isinstance(made, DictConfig)
    return made


def fitted(tree: Any, schema: Any, prefix: str = "", also: Sequence[str] = ()) -> Any:
    """``tree`` as an object of ``schema``, a dataclass or an object of one whose values are the defaults.

    Args:
        prefix: of its keys.
        also: further keys that there are in its place.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    kind = schema if isinstance(schema, type) else type(schema)
    if not isinstance(tree, Mapping):
        raise refused(prefix.rstrip("."), tree, "must be a section, with keys of its own")
    require_shape(tree, kind, prefix.rstrip("."))
    try:
        blank = _blank(schema) if isinstance(schema, type) else OmegaConf.structured(schema)
        return OmegaConf.to_object(OmegaConf.merge(blank, OmegaConf.create(dict(tree))))
    except (OmegaConfBaseException, ValueError, OverflowError) as error:
        raise misfit(error, tree, kind, prefix, also) from error
