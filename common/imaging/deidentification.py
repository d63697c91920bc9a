"""Whether a DICOM header may say who the patient is. Nothing is changed here, and no value is ever returned.

The attributes that matter are those of DICOM PS3.15, Table E.1-1 (the Basic Application Level Confidentiality Profile
and its options), as the package ``dicom-anonymizer`` lists them. That table says what to remove *before* images are
handed on; to hold a finished archive against it word for word would refuse every public one, since they keep what the
profile's options let them keep. So each attribute that has a value counts by what is stated of the whole object:

- A *statement* is ``PatientIdentityRemoved`` YES, or a ``DeidentificationMethod`` in words or codes, unless
  ``PatientIdentityRemoved`` is NO. The options are its codes (PS3.15 E.3, PS3.16 CID 7050).
- *Identifying* attributes are acted upon; those *to review* are only counted, because they name no one by themselves.

==============================  ====================  ====================  =========================================
attributes                      without a statement   with a statement      where the statement has the option
==============================  ====================  ====================  =========================================
address, telephone, insurance,  identifying           identifying
other and issuer's IDs
names of persons                identifying           identifying unless    (a patient's name that equals the ID
                                                      code-like (Reader1)   never counts)
birth date                      identifying           identifying, a        (a 1 January stands for the year alone)
                                                      1 January: to review
institution                     identifying           identifying           113112 retain institution: to review
private attributes              identifying           identifying           113111 retain safe private: passed; those
                                                                            that the de-identifier CTP wrote always are
dates of the patient's care     identifying           to review             113107 or temporal information stated as
                                                                            modified: passed
accession and order numbers     identifying           passed (PS3.15 lets
                                                      them be replaced)
comments, free text             identifying           to review             113105 clean descriptors: passed
descriptions, protocol          to review             to review             113105: passed
station, serial numbers, AE     to review             to review             113109 retain device identity: passed
age, size, weight ...           to review             to review             113108 retain characteristics: passed
overlays                        to review             to review             113103 clean graphics: passed
==============================  ====================  ====================  =========================================

Empty values, single characters and stand-ins (``ANONYMOUS``, ``Removed by CTP``, ``XXXX``, 19000101, 20000101 ...)
never count. UIDs never count either: a replaced one cannot be told from an original. Times of day say nothing without
their date. What a trial gave (``ClinicalTrial...``) are pseudonyms. Items of sequences are searched like the object
itself, with one exception: what ``ModifiedAttributesSequence`` holds are values from before a change, so no statement
covers them. A segmentation or structure set repeats dates and numbers of the images that it was drawn on, which are
examined themselves.

Pixels: ``BurnedInAnnotation`` counts where it is YES, and for a secondary capture or screen save that does not say NO.
"""

import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_dict, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from common.imaging.confidential import BIRTH, DATE, NAME, ORDER, Grade, Rule, attribute_rules, repeating_rule, usual_vr

PRIVATE = "private tags"
BURNED_IN = "BurnedInAnnotation"

_SAFE_CREATOR = "CTP"
_DRAWN_ON_IMAGES = ("SEG", "RTSTRUCT")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MOST_ELEMENTS = 100_000
_DEEPEST = 12


def identifying_fields(dataset: Dataset) -> tuple[str, ...]:
    """Attributes of a DICOM object that may identify the person, by keyword, sorted; never their values.

    Args:
        dataset: the object, read with or without its pixels. Damaged values are passed over.

    Returns:
        Keywords of PS3.15 attributes, ``"private tags"`` and ``"BurnedInAnnotation"``; empty if nothing was found.

    >>> header = Dataset()
    >>> header.PatientName, header.PatientID, header.PatientAge = "Doe^Jane", "4711", "061Y"
    >>> identifying_fields(header)
    ('PatientName',)
    """
    return _with_grade(dataset, Grade.IDENTIFYING)


def fields_to_review(dataset: Dataset) -> tuple[str, ...]:
    """Attributes that name no one by themselves, but that somebody should have looked at, by keyword, sorted.

    >>> header = Dataset()
    >>> header.PatientAge, header.StationName = "061Y", "CT2"
    >>> fields_to_review(header)
    ('PatientAge', 'StationName')
    """
    return _with_grade(dataset, Grade.TO_REVIEW)


_STAND_IN = re.compile(
    r"(?:anon(?:ym(?:ous|i[sz]ed)?)?|removed(?:by\w+)?|deidentified|pseudonym(?:i[sz]ed)?|redacted|masked|deleted|"
    r"dummy|unknown|none|na|nil|null|notapplicable|noname|name|patient|subject|phantom)(?:patient|name)?\d*|(.)\1*"
)
_STAND_IN_DATE = re.compile(r"(?:0001|1000|1111|1800|1900|1970|2000)0101|(\d)\1{7}|1899123[01]")
_WRITTEN_NAME = re.compile(r"\s*[^\W\d_][^\d^]*\^\s*[^\W\d_][^\d]*")


def _with_grade(dataset: Dataset, grade: Grade) -> tuple[str, ...]:
    # Odd values make pydicom warn at length, and a warning could quote a value.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grades = _Examination(dataset).grades()
    return tuple(sorted(keyword for keyword, found in grades.items() if found == grade))


class _Examination:
    """One object: what it states of itself, and the grade of each of its attributes."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        removed = _text(dataset, "PatientIdentityRemoved").upper()
        words, codes = _text(dataset, "DeidentificationMethod"), _codes(dataset)
        self._stated = removed == "YES" or (removed != "NO" and bool(words or codes))
        self._options = {*codes, *re.findall(r"\b1131\d\d\b", words)} if self._stated else set()
        self._dates_modified = _text(dataset, "LongitudinalTemporalInformationModified").upper() in (
            "MODIFIED",
            "REMOVED",
        )
        self._drawn_on_images = _text(dataset, "Modality").upper() in _DRAWN_ON_IMAGES
        self._id = _text(dataset, "PatientID")
        self._left = _MOST_ELEMENTS
        self._private_found = "113111" in self._options  # then none counts

    def grades(self) -> dict[str, Grade]:
        """Keyword -> the highest grade that it has anywhere in the object."""
        grades: dict[str, Grade] = {}
        for keyword, grade in self._found(self._dataset, depth=0, original=False):
            grades[keyword] = max(grade, grades.get(keyword, Grade.PASSED))
        if _WRITTEN_NAME.fullmatch(self._id):
            grades["PatientID"] = Grade.IDENTIFYING
        if self._may_show_writing():
            grades[BURNED_IN] = Grade.IDENTIFYING
        if _text(self._dataset, "RecognizableVisualFeatures").upper() == "YES":
            grades["RecognizableVisualFeatures"] = Grade.TO_REVIEW
        return grades

    def _found(self, dataset: Dataset, depth: int, original: bool) -> Iterator[tuple[str, Grade]]:
        """Every attribute that counts, with its grade; ``original``: from before the identity was removed."""
        rules = attribute_rules()
        for tag in sorted(dataset.keys()):
            self._left -= 1
            if self._left < 0:
                return
            if tag.is_private:
                # One is enough, and a vendor writes hundreds.
                if not self._private_found and _is_undeclared(dataset, tag):
                    self._private_found = True
                    yield PRIVATE, Grade.IDENTIFYING
                continue
            rule = rules.get(tag) or (repeating_rule(tag) if tag.group >> 8 in (0x50, 0x60) else None)
            element = _element(dataset, tag) if rule or _may_be_sequence(dataset, tag) else None
            if element is None:
                continue
            keyword = element.keyword or keyword_for_tag(tag) or str(tag)
            if rule and not _is_stand_in(element):
                yield keyword, self._grade(keyword, rule, element, original)
            if element.VR == "SQ" and depth < _DEEPEST:
                before = original or keyword == "ModifiedAttributesSequence"
                for item in element.value or ():
                    if isinstance(item, Dataset):
                        yield from self._found(item, depth + 1, before)
                        if _text(item, "PatientID") not in ("", self._id):
                            yield keyword, Grade.IDENTIFYING

    def _grade(self, keyword: str, rule: Rule, element: DataElement, original: bool) -> Grade:
        value = _written(element)
        if keyword == "PatientName" and _plain(value) == _plain(self._id) and not _WRITTEN_NAME.fullmatch(value):
            return Grade.PASSED
        if self._drawn_on_images and rule in (DATE, ORDER):
            return Grade.TO_REVIEW
        if original:
            return rule.bare
        if rule is DATE and self._dates_modified:
            return Grade.PASSED
        if not self._stated:
            return rule.bare
        if rule is NAME and re.search(r"\d", value) and "^" not in value.rstrip("^"):
            return Grade.TO_REVIEW
        if rule is BIRTH and value[4:8] == "0101":
            return Grade.TO_REVIEW
        return rule.optional if rule.option in self._options else rule.stated

    def _may_show_writing(self) -> bool:
        burned_in = _text(self._dataset, "BurnedInAnnotation").upper()
        if burned_in in ("YES", "NO"):
            return burned_in == "YES"
        kinds = _text(self._dataset, "ImageType").upper()
        captured = _text(self._dataset, "SOPClassUID").startswith(_SECONDARY_CAPTURE) or "SCREEN" in kinds
        return (captured or bool(_text(self._dataset, "ConversionType"))) and "113101" not in self._options


def _is_undeclared(dataset: Dataset, tag: BaseTag) -> bool:
    """True for a private value (not the name or length of a block) that the de-identifier did not write itself."""
    if tag.element < 0x1000:
        return False
    creator = _element(dataset, BaseTag((tag.group << 16) | (tag.element >> 8)))
    if creator is not None and _written(creator).strip().upper() == _SAFE_CREATOR:
        return False
    element = _element(dataset, tag)
    if element is None:
        return False
    return bool(element.value) if element.VR == "SQ" else not _is_stand_in(element)


def _may_be_sequence(dataset: Dataset, tag: BaseTag) -> bool:
    try:
        raw = dataset.get_item(tag)
    except Exception:  # an element of unlimited length is converted even here
        return False
    return (getattr(raw, "VR", None) or usual_vr(tag)) in ("SQ", "UN")


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """One element, or None where it is missing or its value cannot be made sense of."""
    try:
        return dataset.get(tag)
    except Exception:  # a damaged value makes pydicom raise nearly anything
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    """A value as text; empty where it is missing, empty or damaged."""
    element = _element(dataset, _tag(keyword))
    return "" if element is None else _written(element).strip()


@functools.cache
def _tag(keyword: str) -> BaseTag:
    return BaseTag(keyword_dict[keyword])


def _written(element: DataElement) -> str:
    """The value as text; several values are joined by a backslash, as DICOM does. Empty where it makes no text."""
    value: Any = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    try:
        return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list, tuple)) else str(value)
    except Exception:  # a name is decoded only when it is asked for
        return ""


def _is_stand_in(element: DataElement) -> bool:
    """True for an empty value, or one that is known to stand for a removed one."""
    if element.VR == "SQ":
        items = [item for item in element.value or () if isinstance(item, Dataset)]
        return all(_is_plain_stand_in(_text(item, key)) for item in items for key in ("CodeMeaning", "CodeValue"))
    if isinstance(element.value, bytes):
        return not element.value.strip(b"\0 ")
    if element.VR in ("DA", "DT"):
        return all(_STAND_IN_DATE.match(day) or not day.strip() for day in _written(element).split("\\"))
    return all(map(_is_plain_stand_in, _written(element).split("\\")))


def _is_plain_stand_in(value: str) -> bool:
    plain = _plain(value)
    return not plain or _STAND_IN.fullmatch(plain) is not None


def _codes(dataset: Dataset) -> set[str]:
    try:
        return {_text(item, "CodeValue") for item in dataset["DeidentificationMethodCodeSequence"].value} - {""}
    except Exception:
        return set()


def _plain(value: str) -> str:
    return re.sub(r"[\W_]+", "", value).casefold()
