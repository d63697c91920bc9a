"""The strip of pictures of the first screen: for each generator and subject, real slices next to generated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.figures.formatting import listed
from common.report.images import Picture
from server.report.gallery import ReferenceGallery, Row

RULES = ("best", "median", "worst")


@dataclass(frozen=True)
class StripColumn:
    """One generator on one subject.

    Attributes:
        gan, subject: which.
        truth, followed: what the first and the second picture of each row are, e.g. ``real`` and ``generated``.
        rows: one a rule, at most three; two pictures each.
    """

    gan: str
    subject: str
    truth: str
    followed: str
    rows: Sequence[Row]


def strip(galleries: Mapping[str, Sequence[ReferenceGallery]]) -> list[StripColumn]:
    """The best, the median and the worst slice of each gallery; galleries without a pair to show are left out."""
    columns = [
        StripColumn(name, gallery.subject, gallery.truth, gallery.followed, rows)
        for name, of_gan in galleries.items()
        for gallery in of_gan
        if (rows := _rows(name, gallery))
    ]
    return columns


def rule_in_words(galleries: Mapping[str, Sequence[ReferenceGallery]]) -> str:
    """By which figure the slices of the strip were ranked, a clause for each that differs."""
    figures: dict[str, list[str]] = {}
    for name, of_gan in galleries.items():
        for ranked_by in dict.fromkeys(gallery.ranked_by for gallery in of_gan if gallery.ranked_by):
            figures.setdefault(ranked_by, []).append(name)
    return listed(f"{figure} ({', '.join(names)})" for figure, names in figures.items())


def _rows(name: str, gallery: ReferenceGallery) -> list[Row]:
    rows = []
    for rule in RULES:
        found = next((row for row in gallery.slices if row.rule == rule), None)
        pair = [_labelled(found, version) for version in (gallery.truth, gallery.followed)] if found else []
        pictures = [
            replace(one, alt=f"{name}, {gallery.subject}, {rule} slice: {one.label}", label="") for one in pair if one
        ]
        if found and len(pictures) == len(pair):
            rows.append(Row(found.title, pictures, rule))
    return rows


def _labelled(row: Row, version: str) -> Picture | None:
    return next((one for one in row.pictures if one.label == version), None)
