"""What each attribute of DICOM PS3.15, Table E.1-1 tells, and how much that counts; see ``deidentification``."""

import functools
import re
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module

from pydicom.datadict import dictionary_VR, keyword_dict, keyword_for_tag
from pydicom.tag import BaseTag

_TABLE = "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c"
_ACTIONS = ("D_TAGS", "Z_TAGS", "X_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS")


class Grade(IntEnum):
    """How much a value counts: not at all, worth a look by a person, or acted upon."""

    PASSED = 0
    TO_REVIEW = 1
    IDENTIFYING = 2


@dataclass(frozen=True)
class Rule:
    """How attributes of one kind count.

    Attributes:
        name: of the kind.
        bare: without a statement of de-identification.
        stated: with one.
        option: the code of the option that lowers ``stated`` to ``optional``.
    """

    name: str
    bare: Grade
    stated: Grade
    option: str = ""
    optional: Grade = Grade.PASSED


_PASSED, _REVIEW, _ACT = Grade.PASSED, Grade.TO_REVIEW, Grade.IDENTIFYING
_PERSON = Rule("person", _ACT, _ACT)
NAME = Rule("name", _ACT, _ACT)
BIRTH = Rule("birth", _ACT, _ACT)
_INSTITUTION = Rule("institution", _ACT, _ACT, "113112", _REVIEW)
DATE = Rule("date", _ACT, _REVIEW, "113107")
ORDER = Rule("order", _ACT, _PASSED)
_COMMENT = Rule("comment", _ACT, _REVIEW, "113105")
_DESCRIPTION = Rule("description", _REVIEW, _REVIEW, "113105")
_DEVICE = Rule("device", _REVIEW, _REVIEW, "113109")
_CHARACTERISTIC = Rule("characteristic", _REVIEW, _REVIEW, "113108")
_GRAPHICS = Rule("graphics", _REVIEW, _REVIEW, "113103")
_TRIAL = Rule("trial", _PASSED, _PASSED)

# The table has no kinds; its keywords tell them. The first pattern that is found decides.
_KINDS: tuple[tuple[re.Pattern[str], Rule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"^PatientBirthDate$", BIRTH),
        (r"^Institution|^CustodialOrg|^ResponsibleOrganization$|^(HumanPerformer|Verifying)Organi", _INSTITUTION),
        (
            r"^Patient(Age|Sex|SexNeutered|Size|Weight|State)$|^EthnicGroup|^SmokingStatus$|^PregnancyStatus$",
            _CHARACTERISTIC,
        ),
        (
            r"Address|[Pp]hone|Telecom|^OtherPatientIDs|Insurance|^MedicalRecordLocator$|^MilitaryRank$|Residence$|"
            r"^BranchOfService$|Religious|^IssuerOfPatientID$|^CurrentPatientLocation$|^Occupation$|^GPSL|"
            r"^(Person|VerifyingObserver)IdentificationCodeSequence$",
            _PERSON,
        ),
        (
            r"Accession|OrderNumber|^(Issuer)?(Of)?AdmissionID|ServiceEpisodeID|ProcedureID$|ProcedureStepID$|"
            r"^(Results|Interpretation)ID|^BarcodeValue$",
            ORDER,
        ),
        (
            r"AETitle|Device|Station|Detector|Gantry|Cassette|Plate|Generator|Lens|Camera|XRay|SerialNumber|AE(Value)?$|"
            r"Calibration|Manufactur|Installation|TreatmentMachine|^GPS|Version|^NetworkID$|SourceStrength|Hanging",
            _DEVICE,
        ),
        (r"^ClinicalTrial|^IssuerOfClinicalTrial", _TRIAL),
    )
)


@functools.cache
def attribute_rules() -> dict[int, Rule]:
    """Tag -> rule: the attributes of PS3.15's table and every name of a person that DICOM knows."""
    table = import_module(_TABLE)  # here, because the package also loads its command
    tags = {BaseTag((tag[0] << 16) | tag[1]) for action in _ACTIONS for tag in getattr(table, action) if len(tag) == 2}
    tags |= {BaseTag(tag) for tag in keyword_dict.values() if usual_vr(tag) == "PN"}
    rules = {int(tag): _rule(keyword_for_tag(tag), usual_vr(tag)) for tag in tags if keyword_for_tag(tag)}
    del rules[0x00100020]  # the ID itself: an archive always has one, and only its form can say that it is a name
    return {tag: rule for tag, rule in rules.items() if rule is not None}


def _rule(keyword: str, vr: str) -> Rule | None:
    if vr == "PN":
        return NAME
    for pattern, rule in _KINDS:
        if pattern.search(keyword) and (vr != "SQ" or keyword.endswith("CodeSequence")):
            return rule
    if vr in ("UI", "TM", "SQ"):
        return None
    if vr in ("DA", "DT"):
        return DATE
    free_text = vr in ("LT", "ST", "UT") and not keyword.endswith(("Description", "Model", "Make"))
    return _COMMENT if free_text else _DESCRIPTION


def repeating_rule(tag: BaseTag) -> Rule | None:
    """Overlays and curves, whose groups repeat: their comments are text, their data may be."""
    keyword = keyword_for_tag(tag)
    if keyword in ("OverlayComments", "OverlayLabel", "OverlayDescription"):
        return _COMMENT
    return _GRAPHICS if keyword in ("OverlayData", "CurveData") else None


@functools.cache
def usual_vr(tag: int) -> str:
    """The type of value that DICOM gives a tag; ``UN`` for one that it does not know.

    >>> usual_vr(0x00100010)
    'PN'
    """
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
