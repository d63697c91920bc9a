"""What names a patient of the demo cohort."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PatientKey:
    """Everything that decides what one patient looks like.

    Attributes:
        seed: the cohort's.
        site: whose patient it is.
        index: number within the site.
        scanner: one of the organ's scanners.
        tumour: whether there is one.
        slices: how many to make; more than the anatomy has means all of it.
    """

    seed: int
    site: str
    index: int
    scanner: str
    tumour: bool
    slices: int
