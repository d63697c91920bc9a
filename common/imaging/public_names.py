"""Whose study it is, by the names of public data sets: the visits of one patient have names of their own there."""

import re

_VISITS = tuple(
    re.compile(rf"(?P<patient>{pattern})", re.IGNORECASE)
    for pattern in (
        # Each name ends with what tells the visits of one patient apart: a number, a date or a week.
        r"BraTS-[A-Za-z]+-\d+)(-\d{3}",  # BraTS since 2023: GLI, MEN, MET, PED, SSA, GoAT
        r"BraTS-MEN-RT-\d+)(-\d+",
        r"Brats1[789]_[A-Za-z0-9]+_[A-Za-z0-9]+)(_\d+",  # Brats17_2013_2_1, BraTS19_TCIA01_131_1
        r"brats_(?:2013|tcia)_pat\d+)(_\d+",  # BraTS 2013 to 2015
        r"BraTSReg_\d+)(_\d{2}(?:_\d{4})?",
        r"UPENN-GBM-\d+)(_\d{2}",  # 11 before treatment, 21 after
        r"UCSF-PDGM-\d+)((?:_FU\d+[a-z]?)?(?:_nifti)?",  # FU001d: follow-up on day 1
        r"\d{6})(_time\d+",  # UCSF-ALPTDG
        r"UCSD-PTGBM-\d+)(_\d+",
        r"RHUH-\d+)(_\d+",
        r"PatientID_\d+)(_Timepoint_\d+",  # MU-Glioma-Post
        r"Patient-\d+)([_-]week-\d+(?:-\d+)?",  # LUMIERE
        r"sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+",  # BIDS
        r"TCGA-[A-Za-z0-9]{2}-[A-Za-z0-9]{4})(_\d{4}\.\d{2}\.\d{2}",
        r"TCGA_[A-Za-z0-9]{2}_[A-Za-z0-9]{4})(_\d{8}",
        r"W\d+)(_\d{4}\.\d{2}\.\d{2}",  # IvyGAP
        r"YG_[A-Za-z0-9]+)(_\d{4}-\d{2}-\d{2}",  # Yale-Brain-Mets-Longitudinal
    )
)


def patient_of(case: str) -> str:
    """The patient whose study a case is.

    Only endings that are known to tell the visits of one patient apart are taken off: elsewhere a number at the end
    is as often the patient's own.

    >>> patient_of("BraTS-MEN-RT-0003-2"), patient_of("UCSF-PDGM-0004_FU001d"), patient_of("Brats17_2013_2_1")
    ('BraTS-MEN-RT-0003', 'UCSF-PDGM-0004', 'Brats17_2013_2')
    >>> patient_of("BraTS20_Training_001"), patient_of("liver_12"), patient_of("case_00012")
    ('BraTS20_Training_001', 'liver_12', 'case_00012')
    """
    for pattern in _VISITS:
        if match := pattern.fullmatch(case):
            return match["patient"]
    return case
