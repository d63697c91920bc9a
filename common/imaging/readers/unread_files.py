"""What lies in a folder in which no image is found that can be read, and what to do about it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from common.imaging.listing import as_text
from common.imaging.passed_over import TABLES
from common.imaging.readers.flat_image import SUFFIXES
from common.imaging.readers.pairs import Pairs

_MOST_KINDS = 4


def what_lies(files: list[Path], pairs: Pairs) -> str:
    """Why there is no image among some files, for the text of an error."""
    if pairs.lost:
        return (
            f"every image file is a mask by its name ({len(pairs.lost)}, e.g. {as_text(pairs.lost[0].name)}); set the "
            "site's path to the folder that holds images and masks"
        )
    looked = f"looked for {', '.join(SUFFIXES)} in it and below"
    return (
        f"{looked}; {unread(files) or 'it holds no file at all'}; or set the site's path to the folder that holds them"
    )


def unread(files: Iterable[Path]) -> str:
    """What else lies in a folder, and what to do with it; empty if nothing does."""
    kinds = Counter(
        "".join(path.suffixes[-2:]).lower()
        if path.suffix.lower() == ".gz"
        else path.suffix.lower() or "without a suffix"
        for path in files
        if path.suffix.lower() not in SUFFIXES and path.name.lower() not in TABLES
    )
    if not kinds:
        return ""
    told = ", ".join(
        f"{count} file{'' if count == 1 else 's'} {f'*{kind}' if kind.startswith('.') else kind}"
        for kind, count in sorted(kinds.items(), key=lambda one: (-one[1], one[0]))[:_MOST_KINDS]
    )
    verb = "was" if kinds.total() == 1 else "were"
    way = "convert to PNG or TIFF" if ".dcm" not in kinds else "set reader: dicom, or convert to PNG or TIFF"
    return f"{told} {verb} found, which this reader does not read: {way}"
