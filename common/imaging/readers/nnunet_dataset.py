"""``dataset.json`` of nnU-Net (both versions) and the Medical Segmentation Decathlon: channels and labels by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.system.outside import printable
from common.system.safe_json import read_json_text

DATASET_FILE = "dataset.json"
_ENDINGS = (".nii.gz", ".nii")
_MOST_BYTES = 2**24
_EXAMPLE = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "cancer": 2}}'


@dataclass(frozen=True)
class Description:
    """What a ``dataset.json`` says.

    Attributes:
        channels: the name of each channel, in order; as those of labels without characters that cannot be seen.
        labels: name -> the values of a mask that it stands for; several where it is a region. The background is not
            among them.
    """

    channels: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]]

    def names_of(self, value: int) -> tuple[str, ...]:
        """Every name that a value of a mask has, the narrowest region first; the number itself where it has none."""
        held = [name for name, values in self.labels.items() if value in values]
        return tuple(sorted(held, key=lambda name: len(self.labels[name]))) or (str(value),)


def find_dataset(root: Path) -> Path:
    """The folder of the data set: ``root`` itself, or the only folder in it that has a ``dataset.json``.

    Raises:
        DataError: if there is no such folder, or none or several with that file.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {state}; set the site's path to the folder that holds {DATASET_FILE}")
    if (root / DATASET_FILE).is_file():
        return root
    below = [child for child in sorted(root.iterdir()) if (child / DATASET_FILE).is_file()]
    if len(below) == 1:
        return below[0]
    if below:
        raise DataError(
            f"{root}: holds several data sets ({', '.join(child.name for child in below[:3])}); set the site's path to "
            "one of them"
        )
    what = "beside imagesTr" if (root / "imagesTr").is_dir() else "in it and in its folders"
    raise DataError(
        f"{root}: looked for {DATASET_FILE} {what} and found none; it says what channels and labels mean: write one, "
        f"e.g. {_EXAMPLE}, or set the site's path to the folder that holds it"
    )


def read_description(folder: Path) -> Description:
    """The ``dataset.json`` of one data set.

    Raises:
        DataError: if it cannot be read, names no channels or labels, or its images are in another format than NIfTI.
    """
    path = folder / DATASET_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: is larger than any {DATASET_FILE}; set the site's path to the data set's folder")
        content = read_json_text(path.read_bytes())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text at byte {error.start}, perhaps Latin-1; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({error}); write it like {_EXAMPLE}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the user of this program access") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is no table of names; write it like {_EXAMPLE}")
    ending = content.get("file_ending", _ENDINGS[0])
    if ending not in _ENDINGS:
        raise DataError(
            f"{path}: file_ending is {ending!r}, and reader nnunet reads {' and '.join(_ENDINGS)}; convert images and "
            "masks to one of them"
        )
    return Description(_channels(path, content), _labels(path, content))


def listed(names: Iterable[str]) -> str:
    """Names for a message, at most twenty."""
    some = list(names)
    return ", ".join(some[:20]) + (f" and {len(some) - 20} more" if len(some) > 20 else "")


def _channels(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    named = content.get("channel_names", content.get("modality"))
    if isinstance(named, list):
        named = dict(enumerate(named))
    try:
        numbered = {int(number): name for number, name in named.items()}  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        numbered = {}
    if sorted(numbered) != list(range(len(numbered))) or not all(isinstance(one, str) for one in numbered.values()):
        numbered = {}
    if not numbered:
        raise DataError(
            f'{path}: channel_names (or modality) does not name the channels 0, 1, ...; write e.g. {{"0": "CT"}}'
        )
    return tuple(printable(numbered[number]) for number in range(len(numbered)))


def _labels(path: Path, content: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    stated = content.get("labels")
    if not isinstance(stated, dict) or not stated:
        raise DataError(f'{path}: labels names none; write e.g. {{"background": 0, "liver": 1, "cancer": 2}}')
    turned: dict[str, list[Any]] = {}
    for key, value in stated.items():
        if key.strip().isdecimal() and isinstance(value, str) and not value.strip().isdecimal():
            turned.setdefault(printable(value), []).append(key)  # As in the first version: number -> name.
        else:
            turned.setdefault(printable(key), []).extend(value if isinstance(value, list) else [value])
    try:
        numbered = {name: tuple(sorted({_number(value) for value in values})) for name, values in turned.items()}
    except ValueError as error:
        raise DataError(f"{path}: labels: {error} is no number from 0 to 65535") from error
    numbered = {name: tuple(value for value in values if value) for name, values in numbered.items()}
    if not any(numbered.values()):
        raise DataError(f"{path}: labels holds the background alone; add what the masks hold")
    return {name: values for name, values in numbered.items() if values}


def _number(value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or int(text) > 65535:
        raise ValueError(repr(value))
    return int(text)
