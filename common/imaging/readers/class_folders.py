"""What class an image is of, by the folders that it lies in."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError

_HEALTHY = re.compile(
    r"(normals?|healthy|no|none|not|negatives?|neg|controls?|clean|background|unaffected|"
    r"(no|non|not|without)?(tumou?rs?|lesions?|cancer|findings?|abnormality)free|"
    r"(no|non|not|without)(tumou?rs?|lesions?|cancer|findings?|abnormality|disease))",
    re.IGNORECASE,
)
_MOST_NAMED = 10


@dataclass(frozen=True)
class ClassFolders:
    """The folders whose images show a tumour, and on which level below the root such folders lie.

    Attributes:
        tumour: their names, folded.
        level: 0 for ``<class>/...``, 1 for ``Training/<class>/...``; None where no folder is a class.
    """

    tumour: frozenset[str]
    level: int | None

    @staticmethod
    def of(root: Path, images: Iterable[Path], tumour: Collection[str]) -> "ClassFolders":
        """The level on which most images of a tumour class have its name.

        Raises:
            DataError: if one of ``tumour`` is no folder with images.
        """
        folders = [_folders(root, image) for image in images]
        names = frozenset(name.strip().casefold() for name in tumour)
        present = {folder.casefold() for some in folders for folder in some}
        for name in tumour:
            if name.strip().casefold() not in present:
                held = sorted({folder for some in folders for folder in some})
                more = f" and {len(held) - _MOST_NAMED} more" if len(held) > _MOST_NAMED else ""
                raise DataError(
                    f"{root}: tumour class {name!r} has no folder with images; folders are "
                    f"{', '.join(held[:_MOST_NAMED])}{more}; correct tumour_classes"
                )
        levels = Counter(level for some in folders for level, name in enumerate(some) if name.casefold() in names)
        return ClassFolders(names, levels.most_common(1)[0][0] if levels else None)

    def shows_tumour(self, root: Path, image: Path) -> bool:
        """Whether one of the folders of an image is that of a tumour class."""
        return any(folder.casefold() in self.tumour for folder in _folders(root, image))

    def name(self, root: Path, image: Path) -> str | None:
        """The class of an image; None for one that lies in no class folder."""
        folders = _folders(root, image)
        if self.shows_tumour(root, image):
            return next(folder for folder in folders if folder.casefold() in self.tumour)
        if self.level is None or len(folders) <= self.level:
            return None
        return folders[self.level]


def says_healthy(name: str) -> bool:
    """Whether a folder's name says that its images show no tumour.

    >>> [says_healthy(name) for name in ("normal", "no_tumor", "benign")]
    [True, True, False]
    """
    return _HEALTHY.fullmatch(re.sub(r"[\W_\d]+", "", name)) is not None


def _folders(root: Path, image: Path) -> tuple[str, ...]:
    return image.relative_to(root).parts[:-1]
