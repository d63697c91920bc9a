"""Each rule with a header made for it, then the headers of whole archives."""

import logging
import warnings
from io import BytesIO
from pathlib import Path
from random import Random

import pydicom
import pytest
from dicom_files import body, ct_series, enhanced, write
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2023
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from common.imaging.deidentification import fields_to_review, identifying_fields
from common.imaging.dicom.volume import load_volume

SHIPPED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
LIDC_METHOD = "DCM:113100/113105/113107/113108/113109/113111"


def header(stated: str | list[str] = "", **values: object) -> Dataset:
    """A header; ``stated``: a method in words, or its codes."""
    dataset = Dataset()
    dataset.PatientID = "HCC_001"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if stated:
        dataset.PatientIdentityRemoved = "YES"
    if isinstance(stated, str):
        dataset.DeidentificationMethod = stated
    else:
        dataset.DeidentificationMethodCodeSequence = Sequence([code(value, "an option") for value in stated])
    return dataset


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def lidc() -> Dataset:
    """As LIDC-IDRI's CT series are in the public archive."""
    dataset = header(
        LIDC_METHOD,
        PatientID="LIDC-IDRI-0001",
        PatientName="",
        PatientBirthDate="",
        PatientSex="",
        StudyDate="20000101",
        SeriesDate="20000101",
        AcquisitionDateTime="20000101",
        OverlayDate="20000101",
        LastMenstrualDate="20000101",
        AdmittingDate="20000101",
        AccessionNumber="2819497684894126",
        VerifyingObserverName="Removed by CTP",
        PersonName="Removed by CTP",
        ContrastBolusAgent="IV",
        LongitudinalTemporalInformationModified="MODIFIED",
        DeviceSerialNumber="12345",
    )
    block = dataset.private_block(0x0013, "CTP", create=True)
    block.add_new(0x10, "LO", "LIDC-IDRI")
    block.add_new(0x13, "LO", "62796001")
    return dataset


def hcc() -> Dataset:
    """As HCC-TACE-Seg's CT series are in the public archive."""
    dataset = header(
        ["113100", "113101", "113105", "113107", "113108", "113109", "113111"],
        PatientName="HCC_001",
        PatientSex="M",
        PatientAge="070Y",
        PatientWeight="81.6",
        StudyDate="19990524",
        SeriesDate="19990524",
        ContentDate="19990524",
        AccessionNumber="7523957421",
        StudyID="4921",
        StudyDescription="CT ABDPEL WC",
        SeriesDescription="LIVER 3 PHASE",
        StationName="CT3",
    )
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x02, "SL", 912)
    return dataset


def raw_export() -> Dataset:
    """As a hospital's archive gives a study away when nobody asks it not to."""
    dataset = header(
        PatientName="DOE^JANE^M",
        PatientID="0047110815",
        PatientBirthDate="19480317",
        PatientSex="F",
        PatientAge="072Y",
        PatientAddress="1 Main Street",
        PatientTelephoneNumbers="555 0100",
        OtherPatientIDs="99-1234",
        IssuerOfPatientID="CITY",
        ReferringPhysicianName="ROE^RICHARD",
        PerformingPhysicianName="POE^PAUL",
        OperatorsName="TECH",
        InstitutionName="City Hospital",
        AccessionNumber="A20201234",
        StudyDate="20200601",
        AcquisitionDateTime="20200601101500",
        StudyTime="101500",
        PatientComments="daughter of the mayor",
        ImageComments="seen with Dr Roe",
        StudyDescription="CT abdomen",
        StationName="CT3",
    )
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"a block")
    return dataset


@pytest.mark.parametrize("make", [lidc, hcc])
def test_a_public_archive_passes(make):
    assert identifying_fields(make()) == ()
    assert fields_to_review(make()) == ()


def test_a_raw_export_is_caught_in_every_field_that_names_someone():
    assert identifying_fields(raw_export()) == (
        "AccessionNumber",
        "AcquisitionDateTime",
        "ImageComments",
        "InstitutionName",
        "IssuerOfPatientID",
        "OperatorsName",
        "OtherPatientIDs",
        "PatientAddress",
        "PatientBirthDate",
        "PatientComments",
        "PatientName",
        "PatientTelephoneNumbers",
        "PerformingPhysicianName",
        "ReferringPhysicianName",
        "StudyDate",
        "private tags",
    )
    assert fields_to_review(raw_export()) == ("PatientAge", "StationName", "StudyDescription")


def test_no_value_is_ever_told():
    found = " ".join(identifying_fields(raw_export()) + fields_to_review(raw_export()))
    assert not any(value in found.upper() for value in ("DOE", "ROE", "MAIN STREET", "0047110815", "CITY", "2020"))


def test_a_header_with_nothing_but_an_id_passes():
    assert identifying_fields(header()) == fields_to_review(header()) == ()


@pytest.mark.parametrize(
    ("name", "identity", "stated", "expected"),
    [
        ("HCC_001", "HCC_001", "", ()),
        ("hcc 001", "HCC_001", "", ()),
        ("HCC_001^", "HCC_001", "", ()),
        ("DOE^JANE", "HCC_001", "", ("PatientName",)),
        ("DOE^JANE", "HCC_001", LIDC_METHOD, ("PatientName",)),
        ("DOE^JANE", "DOE^JANE", LIDC_METHOD, ("PatientID", "PatientName")),
        ("SUBJ-17", "0017", "", ("PatientName",)),
        ("SUBJ-17", "0017", LIDC_METHOD, ()),
        ("DOE^JANE 17", "0017", LIDC_METHOD, ("PatientName",)),
        ("Müller^Jürgen", "HCC_001", "", ("PatientName",)),
        ("ANONYMOUS", "HCC_001", "", ()),
        ("Anonymized^Patient", "HCC_001", "", ()),
        ("Anon0017", "HCC_001", "", ()),
        ("XXXXX", "HCC_001", "", ()),
        ("", "HCC_001", "", ()),
        ("  ", "HCC_001", "", ()),
    ],
)
def test_a_patients_name_counts_unless_it_is_the_id_a_stand_in_or_a_stated_code(name, identity, stated, expected):
    dataset = header(stated, PatientName=name, PatientID=identity)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    assert identifying_fields(dataset) == expected


@pytest.mark.parametrize(
    ("date", "stated", "identifying", "review"),
    [
        ("19480317", "", True, False),
        ("19480317", LIDC_METHOD, True, False),
        ("19480101", "", True, False),
        ("19480101", LIDC_METHOD, False, True),
        ("19000101", "", False, False),
    ],
)
def test_a_birth_date_counts_even_where_dates_may_be_kept(date, stated, identifying, review):
    dataset = header(stated, PatientBirthDate=date)
    assert ("PatientBirthDate" in identifying_fields(dataset)) is identifying
    assert ("PatientBirthDate" in fields_to_review(dataset)) is review


def test_dates_of_care_count_by_what_is_stated_of_them():
    assert identifying_fields(header(StudyDate="20200601")) == ("StudyDate",)
    assert identifying_fields(header(StudyDate="20000101", SeriesDate="19000101")) == ()
    modified = header(StudyDate="20200601", LongitudinalTemporalInformationModified="MODIFIED")
    assert identifying_fields(modified) == fields_to_review(modified) == ()
    kept = header(StudyDate="20200601", LongitudinalTemporalInformationModified="UNMODIFIED")
    assert identifying_fields(kept) == ("StudyDate",)
    assert fields_to_review(header(["113100"], StudyDate="20200601")) == ("StudyDate",)
    assert fields_to_review(header(["113100", "113107"], StudyDate="20200601")) == ()


def test_dates_of_equipment_and_times_of_day_name_no_one():
    dataset = header(DateOfLastCalibration="20200601", StudyTime="101500", AcquisitionTime="101512")
    assert identifying_fields(dataset) == ()
    assert fields_to_review(dataset) == ("DateOfLastCalibration",)


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"InstitutionName": "City Hospital"}, "113112"),
        ({"StudyDescription": "CT abdomen", "ProtocolName": "liver"}, "113105"),
        ({"StationName": "CT3", "DeviceSerialNumber": "7531"}, "113109"),
        ({"PatientAge": "072Y", "PatientSize": "1.7"}, "113108"),
    ],
)
def test_an_option_of_the_profile_lowers_the_grade_of_what_it_lets_be_kept(values, option):
    without, with_option = header(["113100"], **values), header(["113100", option], **values)
    told = {*identifying_fields(without), *fields_to_review(without)}
    assert told == set(values)
    assert identifying_fields(with_option) == ()
    assert fields_to_review(with_option) == (("InstitutionName",) if option == "113112" else ())


def test_free_text_counts_until_somebody_states_that_it_was_cleaned():
    for keyword in ("ImageComments", "PatientComments", "AdditionalPatientHistory", "RequestedProcedureComments"):
        assert identifying_fields(header(**{keyword: "Mrs Doe"})) == (keyword,)
        assert fields_to_review(header(["113100"], **{keyword: "Mrs Doe"})) == (keyword,)
        assert fields_to_review(header(["113100", "113105"], **{keyword: "Mrs Doe"})) == ()


def test_a_statement_that_the_identity_was_not_removed_outweighs_a_method():
    dataset = header(LIDC_METHOD, StudyDate="20200601")
    assert identifying_fields(dataset) == ()
    dataset.PatientIdentityRemoved = "NO"
    assert identifying_fields(dataset) == ("StudyDate",)


def test_what_a_trial_gave_are_pseudonyms():
    dataset = header(ClinicalTrialSubjectID="S-17", ClinicalTrialSiteName="Site 3", ClinicalTrialProtocolID="P1")
    assert identifying_fields(dataset) == fields_to_review(dataset) == ()


def test_sequences_are_searched():
    item = Dataset()
    item.RequestingPhysician, item.RequestedProcedureID, item.RequestedProcedureDescription = "ROE^R", "R1234", "CT"
    dataset = header(RequestAttributesSequence=Sequence([item]))
    assert identifying_fields(dataset) == ("RequestedProcedureID", "RequestingPhysician")
    assert fields_to_review(dataset) == ("RequestedProcedureDescription",)


def test_another_id_in_a_sequence_and_the_code_of_a_person_count():
    other, person = Dataset(), Dataset()
    other.PatientID = "0047110815"
    person.PersonIdentificationCodeSequence = Sequence([code("4711", "Roe, Richard")])
    dataset = header(
        LIDC_METHOD,
        OtherPatientIDsSequence=Sequence([other]),
        ReferringPhysicianIdentificationSequence=Sequence([person]),
    )
    assert identifying_fields(dataset) == ("OtherPatientIDsSequence", "PersonIdentificationCodeSequence")
    other.PatientID = "HCC_001"
    person.PersonIdentificationCodeSequence = Sequence([code("ANONYMOUS", "ANONYMOUS")])
    assert identifying_fields(dataset) == ()


def test_no_statement_covers_the_values_from_before_a_change():
    before, change = Dataset(), Dataset()
    before.AccessionNumber = "A20201234"
    change.ModifiedAttributesSequence = Sequence([before])
    dataset = header(LIDC_METHOD, AccessionNumber="77123", OriginalAttributesSequence=Sequence([change]))
    assert identifying_fields(dataset) == ("AccessionNumber",)


def test_private_attributes_count_unless_they_are_declared_safe_or_written_by_the_de_identifier():
    def with_private(creator: str, value: str, *options: str) -> Dataset:
        dataset = header(["113100", *options])
        dataset.private_block(0x0009, creator, create=True).add_new(0x27, "LO", value)
        return dataset

    assert identifying_fields(with_private("GEMS_IDEN_01", "a suite")) == ("private tags",)
    assert identifying_fields(with_private("GEMS_IDEN_01", "a suite", "113111")) == ()
    assert identifying_fields(with_private("CTP", "LIDC-IDRI")) == ()
    assert identifying_fields(with_private("GEMS_IDEN_01", "")) == ()
    orphan = header()
    orphan.add_new(Tag(0x0009, 0x1027), "LO", "Jane Doe")
    assert identifying_fields(orphan) == ("private tags",)
    nested = header()
    nested.private_block(0x0009, "GEMS_IDEN_01", create=True).add_new(0x27, "SQ", Sequence([orphan]))
    assert identifying_fields(nested) == ("private tags",)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"BurnedInAnnotation": "YES"}, True),
        ({"BurnedInAnnotation": "NO"}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "BurnedInAnnotation": "NO"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]}, False),
        ({"ConversionType": "WSD"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, False),
    ],
)
def test_pixels_that_may_show_writing_count(values, counts):
    assert identifying_fields(header(**values)) == (("BurnedInAnnotation",) if counts else ())


def test_pixels_that_somebody_cleaned_do_not_count_unless_they_still_say_that_they_show_writing():
    captured = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    assert identifying_fields(header(["113100", "113101"], **captured)) == ()
    assert identifying_fields(header(["113101"], BurnedInAnnotation="YES", **captured)) == ("BurnedInAnnotation",)


def test_overlays_and_faces_are_to_be_reviewed():
    dataset = header(RecognizableVisualFeatures="YES")
    dataset.add_new(0x60020010, "US", 8)
    dataset.add_new(0x60023000, "OW", b"\x01\x80")
    assert identifying_fields(dataset) == ()
    assert fields_to_review(dataset) == ("OverlayData", "RecognizableVisualFeatures")


def test_a_segmentation_repeats_the_dates_and_numbers_of_its_images():
    dataset = header(
        Modality="SEG", StudyDate="20200601", AccessionNumber="A20201234", ContentCreatorName="ROE^RICHARD"
    )
    assert identifying_fields(dataset) == ("ContentCreatorName",)
    assert fields_to_review(dataset) == ("AccessionNumber", "StudyDate")


def test_nothing_is_changed():
    dataset = raw_export()
    before = dataset.to_json()
    identifying_fields(dataset)
    assert dataset.to_json() == before


def test_damaged_values_are_passed_over():
    dataset = header(PatientName="DOE^JANE")
    for tag, vr, value in (
        (0x00080020, "DA", b"\xff\xfe not a date"),
        (0x00101010, "ZZ", b"\x00\x01"),
        (0x00280010, "US", b"\x01"),
        (0x00081140, "SQ", b"\x01\x02\x03"),
        (0x00081030, None, b"\x80\x81"),
    ):
        dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    assert "PatientName" in identifying_fields(dataset)
    fields_to_review(dataset)


def test_sequences_without_end_are_searched_to_a_limit():
    dataset = innermost = header()
    for _ in range(400):
        item = Dataset()
        innermost.ReferencedStudySequence = Sequence([item])
        innermost = item
    innermost.PatientName = "DOE^JANE"
    assert identifying_fields(dataset) == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_file_that_pydicom_ships_is_examined_without_a_failure(path):
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Exception:
        pytest.skip("pydicom itself cannot read it")
    assert isinstance(identifying_fields(dataset), tuple)
    assert not set(identifying_fields(dataset)) & set(fields_to_review(dataset))


def test_mutated_files_are_examined_without_a_failure():
    random, examined = Random(1), 0
    logging.disable(logging.CRITICAL)  # pydicom logs at length what it makes of them
    try:
        for _ in range(300):
            content = bytearray(random.choice(SHIPPED).read_bytes()[:4000])
            for _ in range(random.choice((1, 5, 30, 200))):
                content[random.randrange(132, len(content))] = random.randrange(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    dataset = pydicom.dcmread(BytesIO(bytes(content)), stop_before_pixels=True, force=True)
                except Exception:  # pydicom itself cannot read it
                    continue
            identifying_fields(dataset)
            examined += 1
    finally:
        logging.disable(logging.NOTSET)
    assert examined > 200


def test_a_multi_frame_file_is_examined_like_a_series(tmp_path):
    slices = ct_series(body(), patient="HCC_001")
    for dataset in slices:
        dataset.PatientName, dataset.PatientAddress = "DOE^JANE", "1 Main Street"
    expected = ("PatientAddress", "PatientName")
    assert load_volume(write(slices, tmp_path / "series")).identifying == expected
    assert load_volume(write([enhanced(slices)], tmp_path / "frames")).identifying == expected


def test_every_text_of_an_older_edition_of_the_table_is_told_of_a_header_without_a_statement():
    lists = ("D_TAGS", "Z_TAGS", "X_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS")
    tags = [tag for name in lists for tag in getattr(dicomfields_2023, name) if len(tag) == 2]
    passed = []
    for tag in tags:
        keyword = keyword_for_tag(tag)
        if (
            not keyword
            or keyword == "PatientID"
            or dictionary_VR(tag) not in ("LO", "SH", "PN", "LT", "ST", "UT", "DA")
        ):
            continue
        dataset = header(**{keyword: "20200601" if dictionary_VR(tag) == "DA" else "Jane Doe"})
        if keyword not in identifying_fields(dataset) + fields_to_review(dataset):
            passed.append(keyword)
    assert all("ClinicalTrial" in keyword for keyword in passed), passed
