"""Which file of a case is what, by its name: contrasts and tumour masks as public data sets call them."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadStudyError
from common.imaging.contrast_names import CONTRAST_NAMES, contrast_of
from common.imaging.patterns import matched

MASK = "seg"
MASK_NAMES: Mapping[str, int] = {
    "seg": 0,
    "gtv": 1,  # BraTS-MEN-RT
    "segm": 1,  # UPENN-GBM
    "tumormask": 1,  # MU-Glioma-Post
    "tumor_segmentation": 1,  # UCSF-PDGM
    "glistrboost_manuallycorrected": 1,  # BraTS-TCGA
    "automated_approx_segm": 2,  # UPENN-GBM, where nobody looked it through
    "glistrboost": 2,
}
"""Names of files that hold nothing but the tumour in a public data set -> their rank: the lowest is read."""

_NIFTI = re.compile(r"(?P<stem>.+)\.(nii|nii\.gz|hdr)", re.IGNORECASE)
_CONTRASTS = "|".join(sorted(f"{re.sub('flair', '[-_]?flair', one)}" for one in CONTRAST_NAMES if one != "ct"))
_PLAIN = re.compile(
    rf"(?P<case>.+?)[_-](?P<role>(?P<extra>brain_)?(?P<contrast>{_CONTRASTS})(?P<bias>_bias)?|{'|'.join(MASK_NAMES)})",
    re.IGNORECASE,
)
_BIDS = re.compile(
    r"(?P<case>sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?)(?P<entities>(?:_[a-z0-9]+-[a-z0-9.+]+)*)_(?P<suffix>[a-z0-9]+)",
    re.IGNORECASE,
)
_BIDS_CONTRASTS = ("t1w", "t2w", "flair", "t1ce", "t1gd", "t1c", "t1", "t2")
_SUBTRACTION = re.compile(r".+_t1(ce|c|gd)-t1", re.IGNORECASE)
_MASKLIKE = re.compile(r"seg|mask|label|roi|lesion|tumou?r|gtv|annot|contour|truth|glistr", re.IGNORECASE)
_NO_TUMOUR = re.compile(r"brain|parenchyma|skull|tissue|head", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """What a file's name says.

    Attributes:
        case: the study that it belongs to.
        role: a contrast, or ``MASK``.
        word: the name of the role as it stands there, in lower case.
        rank: of several files of one role the lowest is read; 0 for the usual names.
        listed: whether ``mask_names`` of the site's options names it.
    """

    case: str
    role: str
    word: str
    rank: int = 0
    listed: bool = False


@dataclass(frozen=True)
class Case:
    """The files of one study.

    Attributes:
        folder: that of its images.
        files: of each role those of the lowest rank, sorted.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]


def named(path: Path, mask_names: Sequence[str] | None = None) -> Named | None:
    """What one file is; None if its name does not tell.

    >>> named(Path("UPENN-GBM-00001_11_T1GD.nii.gz"))
    Named(case='UPENN-GBM-00001_11', role='t1ce', word='t1gd', rank=0, listed=False)
    >>> named(Path("sub-01_ses-2_run-1_ce-gd_T1w.nii.gz")).role
    't1ce'
    >>> named(Path("case_brain_parenchyma_segmentation.nii.gz")) is None
    True
    """
    stem = _stem(path)
    if not stem or _SUBTRACTION.fullmatch(stem):
        return None
    bids = _BIDS.fullmatch(stem)
    if listed := matched(map(_pattern, mask_names or ()), stem):
        case = bids["case"] if bids else next(iter(listed.groups()), "").rstrip("_-.")
        return Named(case, MASK, stem[len(case) :].strip("_-.").lower(), listed=True)
    if bids:
        return _bids(bids)
    found = _PLAIN.fullmatch(stem)
    if found is None:
        return None
    word = found["role"].lower()
    if contrast := contrast_of(found["contrast"] or ""):
        return Named(found["case"], contrast, word, int(bool(found["extra"])) + int(bool(found["bias"])))
    if word == "glistrboost" and not found["case"].upper().startswith("TCGA-"):
        return None
    return Named(found["case"], MASK, word, MASK_NAMES[word])


def find_cases(root: Path, mask_names: Sequence[str] | None = None, levels: int = 5) -> list[Case]:
    """Every case in ``root`` and below.

    Masks that lie in another folder than the images of their case, as in UPENN-GBM, are put to these.
    """
    cases = [case for folder in _folders(root, levels) for case in cases_in(folder, mask_names)]
    masks: dict[str, list[Case]] = defaultdict(list)
    unmasked: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if _only_masks(case.files, mask_names):
            masks[case.name].append(case)
        elif MASK not in by_role(case.files, mask_names, strict=False):
            unmasked[case.name].append(case)
    found = [case for case in cases if case not in masks[case.name]]
    for name, apart in masks.items():
        if len(unmasked[name]) == 1:
            (case,) = unmasked[name]
            files = [*case.files, *(path for one in apart for path in one.files)]
            found[found.index(case)] = replace(case, files=_lowest(files, mask_names))
        else:
            found += apart  # Of which images, if any, cannot be told.
    return found


def cases_in(folder: Path, mask_names: Sequence[str] | None = None) -> list[Case]:
    """The cases whose files lie in ``folder``: one in BraTS, but a flat folder of many cases works too.

    A mask under another case's name belongs to the images where those of one case alone lie in the folder.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    for path in _files(folder):
        if one := named(path, mask_names):
            files[one.case].append(path)
    imaged = [case for case, paths in files.items() if not _only_masks(paths, mask_names)]
    strays = [case for case in files if case not in imaged]
    alone = [case for case in strays if not any(_carries_on(case, one) for one in imaged)]
    for case in strays if imaged else []:
        longer = max((one for one in imaged if _carries_on(case, one)), key=len, default=None)
        owner = longer or (imaged[0] if len(imaged) == len(alone) == 1 else None)
        if owner is None:
            continue  # Of which case it is cannot be told.
        paths = files.pop(case)
        held, listed = (any(_named(one, mask_names).listed for one in some) for some in (files[owner], paths))
        masked = MASK in by_role(files[owner], mask_names, strict=False)
        if (listed and (longer or not held)) or not (longer or masked):
            files[owner].extend(paths)
        # What is left is told among the files passed over, e.g. <case>_brain_seg.
    return [Case(case, folder, _lowest(paths, mask_names)) for case, paths in files.items()]


def by_role(paths: Iterable[Path], mask_names: Sequence[str] | None = None, *, strict: bool = True) -> dict[str, Path]:
    """Role -> file.

    Raises:
        BadStudyError: where two files have one role, if ``strict``.
    """
    files: dict[str, Path] = {}
    for path in paths:
        one = named(path, mask_names)
        if one is None:
            continue
        if one.role in files and strict:
            what = "masks; name the right one in options.mask_names" if one.role == MASK else f"{one.role}; keep one"
            raise BadStudyError(f"{files[one.role].name} and {path.name} are both {what}")
        files[one.role] = path
    return files


def beside(folder: Path, used: Collection[Path], mask_names: Sequence[str] | None = None) -> list[Path]:
    """Volumes in the folder of a case that may belong to it, and whose names do not say what they are."""
    cases = {one.case for path in used if (one := named(path, mask_names)) and one.role != MASK}
    others = any(
        case.name not in cases and not _only_masks(case.files, mask_names) for case in cases_in(folder, mask_names)
    )
    return [
        path
        for path in _files(folder)
        if path not in used
        and ((one := named(path, mask_names)) is None or one.case not in cases)
        and (not others or any(_carries_on(path.name, case) for case in cases))
    ]


def masklike(paths: Iterable[Path], case: str) -> list[Path]:
    """Those of some files that may be tumour masks by their names, e.g. ``<case>_mask``; no outlines of the brain."""
    rest = {path: path.name.removeprefix(case) for path in paths}
    return [path for path, name in rest.items() if _MASKLIKE.search(name) and not _NO_TUMOUR.search(name)]


def suggestion(path: Path, case: str) -> str:
    """The pattern for ``mask_names`` that a file suggests.

    >>> suggestion(Path("case_7_final_mask.nii.gz"), "case_7"), suggestion(Path("truth.nii"), "case_7")
    ('*_final_mask', 'truth')
    """
    stem = _stem(path)
    return f"*{stem.removeprefix(case)}" if stem.startswith(case) else stem


def _pattern(given: str) -> str:
    """What a hospital writes, without a suffix; a mere ending such as ``_mask`` is one of any case."""
    pattern = re.sub(r"\.nii(\.gz)?$", "", given, flags=re.IGNORECASE)
    return f"*{pattern}" if pattern.startswith(("_", "-")) else pattern


def _bids(name: re.Match[str]) -> Named | None:
    suffix, entities = name["suffix"].lower(), name["entities"].lower()
    if suffix in _BIDS_CONTRASTS:
        enhanced = re.search(r"_ce-(?!none)", entities) is not None
        contrast = contrast_of(suffix)
        if contrast is None or (enhanced and contrast not in ("t1", "t1ce")):
            return None
        return Named(name["case"], "t1ce" if enhanced else contrast, suffix)
    outlined = suffix in ("mask", "dseg", "roi") and re.search(r"_(label|desc)-(lesion|tumou?r)", entities)
    if suffix in MASK_NAMES or outlined:
        return Named(name["case"], MASK, suffix, MASK_NAMES.get(suffix, 1))
    return None


def _carries_on(name: str, case: str) -> bool:
    """Whether a name begins with a case's, e.g. ``a1_x`` with ``a1``, and not with another's, as ``a10`` does."""
    return name.startswith(case) and not name[len(case) : len(case) + 1].isalnum()


def _only_masks(paths: Iterable[Path], mask_names: Sequence[str] | None) -> bool:
    return all(_named(path, mask_names).role == MASK for path in paths)


def _named(path: Path, mask_names: Sequence[str] | None) -> Named:
    return named(path, mask_names) or Named("", "", "")


def _lowest(paths: Iterable[Path], mask_names: Sequence[str] | None) -> tuple[Path, ...]:
    ranked: dict[str, list[tuple[tuple[bool, int], Path]]] = defaultdict(list)
    for path in paths:
        if one := named(path, mask_names):
            ranked[one.role].append(((not one.listed, one.rank), path))
    return tuple(sorted(path for some in ranked.values() for rank, path in some if rank == min(some)[0]))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _stem(path) and path.is_file()]


def _stem(path: Path) -> str:
    """The name of a volume without its suffix; empty for any other file, and for hidden ones."""
    match = _NIFTI.fullmatch(path.name)
    return match["stem"] if match and not path.name.startswith(".") else ""


def _folders(root: Path, levels: int) -> Iterator[Path]:
    yield root
    if levels:
        for child in sorted(root.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _folders(child, levels - 1)
