import pytest

from common.imaging.public_names import patient_of


@pytest.mark.parametrize(
    ("cases", "patient"),
    [
        (["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00005-100"], "BraTS-GLI-00005"),
        (["BraTS-MEN-00004-000"], "BraTS-MEN-00004"),
        (["BraTS-MEN-RT-0003-1", "BraTS-MEN-RT-0003-2"], "BraTS-MEN-RT-0003"),
        (["BraTS-PED-00001-000", "BraTS-PED-00001-001"], "BraTS-PED-00001"),
        (["BraTS-MET-00232-000"], "BraTS-MET-00232"),
        (["BraTS-SSA-00002-000"], "BraTS-SSA-00002"),
        (["BraTS-GoAT-00000-000"], "BraTS-GoAT-00000"),
        (["Brats17_2013_2_1"], "Brats17_2013_2"),
        (["Brats17_TCIA_605_1", "Brats17_TCIA_605_2"], "Brats17_TCIA_605"),
        (["Brats18_CBICA_AAB_1"], "Brats18_CBICA_AAB"),
        (["BraTS19_TCIA01_131_1"], "BraTS19_TCIA01_131"),
        (["BraTS19_WashU_S036_1"], "BraTS19_WashU_S036"),
        (["brats_tcia_pat105_0001", "brats_tcia_pat105_0090"], "brats_tcia_pat105"),
        (["brats_2013_pat0002_1"], "brats_2013_pat0002"),
        (["BraTSReg_001_00_0000", "BraTSReg_001_01_0106"], "BraTSReg_001"),
        (["UPENN-GBM-00001_11", "UPENN-GBM-00001_21"], "UPENN-GBM-00001"),
        (["UCSF-PDGM-0004", "UCSF-PDGM-0004_FU001d", "UCSF-PDGM-0004_FU175d_nifti"], "UCSF-PDGM-0004"),
        (["100001_time1", "100001_time2"], "100001"),
        (["UCSD-PTGBM-0002_01", "UCSD-PTGBM-0002_02"], "UCSD-PTGBM-0002"),
        (["RHUH-0001_0", "RHUH-0001_2"], "RHUH-0001"),
        (["PatientID_0003_Timepoint_1", "PatientID_0003_Timepoint_12"], "PatientID_0003"),
        (["Patient-001_week-000-1", "Patient-001_week-000-2", "Patient-001_week-044"], "Patient-001"),
        (["sub-01", "sub-01_ses-1", "sub-01_ses-preop"], "sub-01"),
        (["TCGA-02-0006_1996.08.23", "TCGA-02-0006_1997.01.12"], "TCGA-02-0006"),
        (["TCGA_CS_4938_19970222"], "TCGA_CS_4938"),
        (["W39_1998.09.19"], "W39"),
        (["YG_0A1B2C_2011-05-18", "YG_0A1B2C_2012-01-02"], "YG_0A1B2C"),
    ],
)
def test_the_visits_of_one_patient_of_a_public_set_are_one_patient(cases: list[str], patient: str) -> None:
    assert [patient_of(case) for case in cases] == [patient] * len(cases)


@pytest.mark.parametrize(
    "case",
    [
        "BraTS20_Training_001",
        "BraTS2021_00001",
        "BRATS_001",
        "liver_12",
        "lung_001",
        "LIDC-IDRI-0001",
        "HCC_001",
        "Burdenko-GBM-001",
        "case_00012",
        "ISPY1_1001",
        "Mets_005",
        "TCGA-DU-7294",
        "TCGA-02-0006_2",
        "UPENN-GBM-00001_11_extra",
        "site-a_patient_3_2",
        "2013_2_1",
        "",
    ],
)
def test_a_number_that_is_not_known_to_be_a_visit_stays_part_of_the_name(case: str) -> None:
    assert patient_of(case) == case


def test_patients_of_different_numbers_stay_apart() -> None:
    names = ["Brats17_2013_2_1", "Brats17_2013_21_1", "UCSF-PDGM-0004", "UCSF-PDGM-0040", "sub-1_ses-1", "sub-11"]
    assert len({patient_of(name) for name in names}) == len(names)
