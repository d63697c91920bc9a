"""The shape of a reader: find studies cheaply, read one, refuse a bad one with a reason."""

from pathlib import Path
from typing import Protocol

from common.imaging.patient import Patient, StudyLocation


class Reader(Protocol):
    """One on-disk format. Built with its options; knows nothing of splits, caches or training.

    A frozen dataclass of its options: its ``repr`` is part of the cache's key.
    """

    def find(self, root: Path) -> list[StudyLocation]:
        """Every study below ``root``, sorted by patient, without reading pixels.

        Raises:
            DataError: if ``root`` is missing, is not a folder, or holds nothing that looks like this format;
                the text names the folder, what was looked for and what to change.
            ConfigError: if the options do not fit what the folder says of itself.
        """
        ...

    def read(self, location: StudyLocation) -> Patient:
        """One study.

        Raises:
            BadStudyError: truncated file, wrong shape, empty or mismatched mask, NaN, missing contrast.
        """
        ...
