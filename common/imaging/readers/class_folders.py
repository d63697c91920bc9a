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
    """The folders whose images show a tumour, and where such folders lie.

    Attributes:
        tumour: their names, folded.
        beside: the folders that hold one: what else lies in them is a class too, ``Training/normal`` beside
            ``Training/tumour``.
        level: on which level below the root they usually lie; None where there are none.
    """

    tumour: frozenset[str]
    beside: frozenset[tuple[str, ...]] = frozenset()
    level: int | None = None

    @staticmethod
    def of(root: Path, images: Iterable[Path], tumour: Collection[str]) -> "ClassFolders":
        """The class folders of some images.

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
        places = [some[:at] for some in folders for at, name in enumerate(some) if name.casefold() in names]
        levels = Counter(len(place) for place in places)
        return ClassFolders(names, frozenset(places), levels.most_common(1)[0][0] if levels else None)

    def shows_tumour(self, root: Path, image: Path) -> bool:
        """Whether one of the folders of an image is that of a tumour class."""
        return any(folder.casefold() in self.tumour for folder in _folders(root, image))

    def name(self, root: Path, image: Path) -> str | None:
        """The class of an image; None for one that lies in no class folder."""
        place = self._place(_folders(root, image))
        return None if place is None else _folders(root, image)[place]

    def below(self, root: Path, image: Path) -> tuple[str, ...]:
        """The folders between the class of an image and the image; all of them where it has none."""
        folders = _folders(root, image)
        place = self._place(folders)
        return folders if place is None else folders[place + 1 :]

    def _place(self, folders: tuple[str, ...]) -> int | None:
        """Which of the folders of an image is its class: a tumour's, one beside such, or one on the usual level."""
        own = [at for at, folder in enumerate(folders) if folder.casefold() in self.tumour]
        beside = [at for at in range(len(folders)) if folders[:at] in self.beside]
        usual = [self.level] if self.level is not None and self.level < len(folders) else []
        return next(iter([*own, *reversed(beside), *usual]), None)


def says_healthy(name: str) -> bool:
    """Whether a folder's name says that its images show no tumour.

    >>> [says_healthy(name) for name in ("normal", "no_tumor", "benign")]
    [True, True, False]
    """
    return _HEALTHY.fullmatch(re.sub(r"[\W_\d]+", "", name)) is not None


def _folders(root: Path, image: Path) -> tuple[str, ...]:
    return image.relative_to(root).parts[:-1]
