"""Readers by name, built from the plain options that a site's file or an experiment gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ConfigError
from common.imaging.readers.brats import BratsReader
from common.imaging.readers.dicom import DicomReader
from common.imaging.readers.hcc_tace import HccTaceReader
from common.imaging.readers.image_folder import ImageFolderReader
from common.imaging.readers.lidc import LidcReader
from common.imaging.readers.reader import Reader

AnyReader = BratsReader | DicomReader | HccTaceReader | ImageFolderReader | LidcReader

READERS: Mapping[str, type[AnyReader]] = {
    "brats": BratsReader,
    "dicom": DicomReader,
    "hcc_tace": HccTaceReader,
    "image_folder": ImageFolderReader,
    "lidc": LidcReader,
}


def known_options(name: str) -> tuple[str, ...]:
    """The options of one reader, beside the organ and contrasts that every reader has.

    >>> known_options("brats")
    ('tumour_free',)

    Raises:
        ConfigError: if there is no such reader.
    """
    if name not in READERS:
        raise ConfigError(f"unknown reader {name!r}; known: {', '.join(READERS)}")
    names = (field.name for field in dataclasses.fields(READERS[name]))
    return tuple(option for option in names if option not in ("organ", "contrasts"))


def build_reader(name: str, *, organ: str, contrasts: Sequence[str], options: Mapping[str, Any]) -> Reader:
    """The reader called ``name`` for one organ and list of contrasts.

    >>> build_reader("brats", organ="brain", contrasts=["t1", "flair"], options={})
    BratsReader(organ='brain', contrasts=('t1', 'flair'), tumour_free='allow')

    Raises:
        ConfigError: for an unknown reader or option, or a value that the reader refuses.
    """
    known = known_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of reader {name}; known: {', '.join(known) or 'none'}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    return READERS[name](organ=organ, contrasts=tuple(contrasts), **values)
