"""Real slices beside those that were made at this site, one column a kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from common.report.images import Picture, picture

_GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Slices with a tumour",
        (
            ("real_tumour", "Real", "a patient of this site"),
            ("synthetic_tumour", "Synthetic", "drawn by the generator"),
            ("copy_paste", "Copy-paste", "a lesion moved"),
            ("blob", "Blob", "a plain bright shape"),
        ),
    ),
    (
        "Slices without",
        (
            ("real_healthy", "Real", "a patient of this site"),
            ("synthetic_healthy", "Synthetic", "no lesion asked for"),
        ),
    ),
)


@dataclass(frozen=True)
class Kind:
    """One column."""

    title: str
    explained: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class KindGroup:
    """Columns side by side: ``rows[i]`` holds the i-th picture of each kind, None where a kind has fewer."""

    title: str
    kinds: Sequence[Kind]

    @property
    def rows(self) -> list[list[Picture | None]]:
        longest = max(len(kind.pictures) for kind in self.kinds)
        return [[k.pictures[i] if i < len(k.pictures) else None for k in self.kinds] for i in range(longest)]


@dataclass(frozen=True)
class StepRow:
    """One slice before and after one preprocessing step."""

    title: str
    explained: str
    pictures: Sequence[Picture]


def step_rows(steps: Mapping[str, npt.NDArray[Any]]) -> list[StepRow]:
    """The steps in their order; empty if none were kept."""
    if not steps:
        return []
    return [
        StepRow(
            str(name).capitalize(),
            str(does),
            [
                picture(steps[key][i].astype(np.float32), f"A slice {when} the step {name}", when)
                for key, when in (("before", "before"), ("after", "after"))
            ],
        )
        for i, (name, does) in enumerate(zip(steps["name"], steps["does"], strict=True))
    ]


def kind_groups(gallery: Mapping[str, npt.NDArray[Any]], most: int = 8) -> list[KindGroup]:
    """The kinds that are there, at most ``most`` pictures of each."""
    groups = []
    for title, kinds in _GROUPS:
        found = [
            Kind(name, explained, _pictures(gallery, key, name, title, most))
            for key, name, explained in kinds
            if key in gallery
        ]
        if found:
            groups.append(KindGroup(title, found))
    return groups


def missing_kinds(gallery: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """Titles of the kinds that a gallery does not hold."""
    return [
        f"{name.lower()} ({title.lower()})" for title, kinds in _GROUPS for key, name, _ in kinds if key not in gallery
    ]


def _pictures(gallery: Mapping[str, npt.NDArray[Any]], key: str, name: str, title: str, most: int) -> list[Picture]:
    labels = gallery.get(f"{key}_labels")
    return [
        picture(
            np.asarray(image, dtype=np.float32),
            f"{title}: {name.lower()}, number {i + 1}",
            labels=None if labels is None else labels[i].astype(np.uint8),
        )
        for i, image in enumerate(gallery[key][:most])
    ]
