"""Which image files below a folder are masks, and of which image: by their names, as 2D sets are usually stored."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.imaging.readers.flat_image import SUFFIXES

_WORDS = r"(?:masks?|seg(?:m|mentations?)?|labels?|gts?|ground[ _.-]?truths?|annot(?:ation)?s?)"
_SEPARATOR = r"[ _.\-]"
_MASK_FOLDER = re.compile(
    rf"(?:(?P<of>.+?){_SEPARATOR})?(?:{_WORDS}|labels?t[rs]|(?:test|train|val)annot|segmentationclass(?:png)?)"
    rf"|masks?{_SEPARATOR}(?P<rest>.+)",
    re.IGNORECASE,
)
_IMAGE_FOLDER = re.compile(
    rf"(?:(?P<of>.+?){_SEPARATOR})?(?:images?|imgs?|images?t[rs]|jpegimages|scans?|slices?|originals?|inputs?|pictures?)"
    rf"|(?:images?|imgs?){_SEPARATOR}(?P<rest>.+)",
    re.IGNORECASE,
)
_NUMBER = rf"(?:{_SEPARATOR}?\(?\d+\)?)"
_AT_END = re.compile(rf"(?P<stem>.+?){_SEPARATOR}{_WORDS}{_NUMBER}?", re.IGNORECASE)
_AT_START = re.compile(rf"{_WORDS}{_SEPARATOR}(?P<stem>.+)", re.IGNORECASE)
_BETWEEN = re.compile(rf"(?P<stem>.+?){_SEPARATOR}{_WORDS}(?P<rest>{_SEPARATOR}.+)", re.IGNORECASE)
_ALONE = re.compile(rf"{_WORDS}{_NUMBER}?", re.IGNORECASE)
_PERHAPS = re.compile(
    rf"(?P<stem>.+?)(?:masks?|{_SEPARATOR}(?:lesions?|rois?|tumou?rs?|nodules?|outlines?)){_NUMBER}?", re.IGNORECASE
)
"""A mask only where the image is there as well: such words are said of images too."""
_NUMBERED = re.compile(rf"(?P<stem>.+?){_NUMBER}")
_IMAGE_WORDS = re.compile(r"images?|img|im|volume|vol|scan|orig(?:inal)?|0000", re.IGNORECASE)


@dataclass(frozen=True)
class Pairs:
    """Every image below a folder with its masks.

    Attributes:
        masks: image -> its masks, none for many.
        lost: masks that belong to no image.
        shared: images of one name that differ in their suffix alone, and so have the same masks.
    """

    masks: dict[Path, tuple[Path, ...]]
    lost: tuple[Path, ...]
    shared: frozenset[Path]


def paired(root: Path, files: Iterable[Path]) -> Pairs:
    """Masks with their images.

    A mask has a word for it in its name (``x_mask.png``, ``mask-x.tif``, ``x seg 2.png``, any case, any suffix) or lies
    in a folder called so (``masks/x.png`` beside ``images/x.png``, or beside or below the folder of ``x.png``). What
    else is an image; a mask is never one.

    Args:
        files: below ``root``; those without an image's suffix are left aside.
    """
    images: list[Path] = []
    masks: list[Path] = []
    for path in sorted(files):
        if path.suffix.lower() in SUFFIXES:
            (masks if is_mask(path.relative_to(root)) else images).append(path)
    there = {image.with_suffix("") for image in images}
    perhaps = {
        image
        for image in images
        if (match := _PERHAPS.fullmatch(image.stem)) and image.with_name(match["stem"]) in there
    }
    images, masks = [image for image in images if image not in perhaps], sorted([*masks, *perhaps])
    by_name: dict[str, list[Path]] = defaultdict(list)
    by_words: dict[str, list[Path]] = defaultdict(list)
    alone: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for image in images:
        by_name[image.stem.casefold()].append(image)
        by_words[_without_image_words(image.stem)].append(image)
        alone[_place(image.relative_to(root))].append(image)
    found: dict[Path, list[Path]] = {image: [] for image in images}
    lost, shared = [], set[Path]()
    for mask in masks:
        place = _place(mask.relative_to(root))
        owners = _owners(mask, place, root, by_name, by_words) or (
            alone[place] if _ALONE.fullmatch(mask.stem) and len(alone[place]) == 1 else []
        )
        for owner in owners:
            found[owner].append(mask)
        if not owners:
            lost.append(mask)
        if len(owners) > 1:
            shared.update(owners)
    return Pairs({image: tuple(some) for image, some in found.items()}, tuple(lost), frozenset(shared))


def is_mask(relative: Path) -> bool:
    """Whether a file's path below the root says that it is a mask.

    >>> [is_mask(Path(name)) for name in ("a/x_Mask.png", "masks/x.png", "a/gt-7.tif", "a/unmasked.png")]
    [True, True, True, False]
    """
    stem = relative.stem
    named = any(form.fullmatch(stem) for form in (_AT_END, _AT_START, _BETWEEN, _ALONE))
    return named or any(_MASK_FOLDER.fullmatch(folder) for folder in relative.parts[:-1])


def is_image_folder(name: str) -> bool:
    """Whether a folder's name says no more than that images lie in it.

    >>> is_image_folder("Images"), is_image_folder("train_images"), is_image_folder("glioma")
    (True, False, False)
    """
    match = _IMAGE_FOLDER.fullmatch(name)
    return match is not None and match["of"] is None and match["rest"] is None


def _place(relative: Path) -> tuple[str, ...]:
    """The folders of a file without those that only say "images" or "masks"."""
    kept = []
    for folder in relative.parts[:-1]:
        match = _MASK_FOLDER.fullmatch(folder) or _IMAGE_FOLDER.fullmatch(folder)
        name = folder if match is None else match["of"] or match["rest"] or ""
        if name:
            kept.append(name.casefold())
    return tuple(kept)


def _owners(
    mask: Path,
    place: tuple[str, ...],
    root: Path,
    by_name: dict[str, list[Path]],
    by_words: dict[str, list[Path]],
) -> list[Path]:
    """The images that a mask may belong to: those of the first spelling that fits, of the nearest folder."""
    names = list(_names(mask))
    for spellings, index in ((map(str.casefold, names), by_name), (map(_without_image_words, names), by_words)):
        for name in spellings:
            found = [
                (other != place, image)
                for image in index.get(name, ())
                if _within(place, other := _place(image.relative_to(root)))
            ]
            near = [image for elsewhere, image in found if not elsewhere] or [image for _, image in found]
            same_case = [image for image in near if image.stem in names]
            near = same_case or near
            if near and len({image.with_suffix("") for image in near}) == 1:
                return near
    return []


def _names(mask: Path) -> Iterator[str]:
    """What the image of a mask may be called, without its suffix, the likeliest first."""
    stem = mask.stem
    for form in (_AT_END, _AT_START, _PERHAPS):
        if match := form.fullmatch(stem):
            yield PurePosixPath(match["stem"]).stem if _is_suffixed(match["stem"]) else match["stem"]
    if match := _BETWEEN.fullmatch(stem):
        yield match["stem"] + match["rest"]
    yield stem
    if match := _NUMBERED.fullmatch(stem):
        yield match["stem"]


def _is_suffixed(stem: str) -> bool:
    return PurePosixPath(stem).suffix.lower() in SUFFIXES


def _without_image_words(stem: str) -> str:
    words = re.split(_SEPARATOR, stem)
    return " ".join(word for word in words if not _IMAGE_WORDS.fullmatch(word)).casefold()


def _within(place: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the folders of a mask are those of an image, or some of them in that order."""
    rest = iter(other)
    return all(folder in rest for folder in place)
