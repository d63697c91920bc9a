"""Readers by name, built from the plain options that a site's file or an experiment gives.

A reader's module is imported when it is asked for: a site has one format, and settings need the names alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError

if TYPE_CHECKING:
    from common.imaging.readers.reader import Reader

READERS: Mapping[str, str] = {
    "brats": "BratsReader",
    "dicom": "DicomReader",
    "hcc_tace": "HccTaceReader",
    "image_folder": "ImageFolderReader",
    "lidc": "LidcReader",
    "nnunet": "NnunetReader",
}
"""The class of each reader, in the module of this folder that has the reader's name."""


def known_options(name: str) -> tuple[str, ...]:
    """The options of one reader, beside the organ and contrasts that every reader has.

    >>> "tumour_free" in known_options("brats")
    True

    Raises:
        ConfigError: if there is no such reader.
    """
    names = (field.name for field in dataclasses.fields(_reader(name)))
    return tuple(option for option in names if option not in ("organ", "contrasts"))


def build_reader(name: str, *, organ: str, contrasts: Sequence[str], options: Mapping[str, Any]) -> "Reader":
    """The reader called ``name`` for one organ and list of contrasts.

    >>> build_reader("brats", organ="brain", contrasts=["t1", "flair"], options={}).contrasts
    ('t1', 'flair')

    Raises:
        ConfigError: for an unknown reader or option, or a value that the reader refuses.
    """
    known = known_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of reader {name}; known: {', '.join(known) or 'none'}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    built: Reader = _reader(name)(organ=organ, contrasts=tuple(contrasts), **values)
    return built


def _reader(name: str) -> type[Any]:
    if name not in READERS:
        raise ConfigError(f"unknown reader {name!r}; known: {', '.join(READERS)}")
    found: type[Any] = getattr(import_module(f"common.imaging.readers.{name}"), READERS[name])
    return found
