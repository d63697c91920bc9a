from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lidc_files import annotation, nodule, radiograph_annotation, roi, session

from common.errors import BadStudyError
from common.imaging.readers.lidc_xml import annotated_series, read_annotation

SQUARE = [(4, 7), (5, 7), (6, 7), (6, 8), (6, 9), (5, 9), (4, 9), (4, 8)]
WHOLE = annotation(
    "1.2.3",
    [
        session(
            nodule(roi("1.5", -125.5, SQUARE) + roi("1.6", -123.0, SQUARE[:3], inclusion=False), malignancy=4),
            nodule(roi("1.7", 12, [(30, 31)]), name="IL057_12", characteristics=""),
            reader="first",
        ),
        session(reader="second"),
    ],
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "071.xml"


def reason(file: Path, content: str | bytes) -> str:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadStudyError) as caught:
        read_annotation(file)
    return caught.value.reason


def test_sessions_nodules_and_contours_are_read_with_their_values(file: Path) -> None:
    file.write_text(WHOLE)
    found = read_annotation(file)
    assert found.series_uid == annotated_series(file) == "1.2.3"
    first, second = found.sessions
    assert (first.reader, second.reader, second.nodules) == ("first", "second", ())
    large, small = first.nodules
    assert (large.name, large.malignancy, large.is_small) == ("1", 4, False)
    assert large.characteristics["spiculation"] == 3
    outline, hole = large.contours
    assert (outline.sop_uid, outline.z, outline.inclusion) == ("1.5", -125.5, True)
    assert outline.points.tolist() == [list(point) for point in SQUARE]
    assert np.issubdtype(outline.points.dtype, np.integer)
    assert hole.inclusion is False
    assert (small.name, small.is_small, small.malignancy, small.characteristics) == ("IL057_12", True, None, {})


@pytest.mark.parametrize("characteristics", ["", "<characteristics/>", None])
def test_characteristics_may_be_missing_or_empty(file: Path, characteristics: str | None) -> None:
    text = nodule(roi("1.5", 0, SQUARE), malignancy=None, characteristics=characteristics)
    file.write_text(annotation("1.2.3", [session(text)]))
    (found,) = read_annotation(file).sessions[0].nodules
    assert found.malignancy is None
    assert found.characteristics == {}


@pytest.mark.parametrize("rating", ["0", "6", "four", "-3", "2.5", "99999999999"])
def test_a_rating_off_the_scale_counts_as_none(file: Path, rating: str) -> None:
    text = nodule(
        roi("1.5", 0, SQUARE), characteristics=f"<characteristics><malignancy>{rating}</malignancy></characteristics>"
    )
    file.write_text(annotation("1.2.3", [session(text)]))
    assert read_annotation(file).sessions[0].nodules[0].malignancy is None


def test_one_point_on_one_of_several_slices_does_not_make_a_nodule_small(file: Path) -> None:
    file.write_text(annotation("1.2.3", [session(nodule(roi("1.5", 0, SQUARE) + roi("1.6", 1, [(5, 8)])))]))
    (found,) = read_annotation(file).sessions[0].nodules
    assert not found.is_small


def test_findings_that_are_no_nodules_and_nodules_without_an_outline_are_not_kept(file: Path) -> None:
    other = "<nonNodule><nonNoduleID>2</nonNoduleID><imageSOP_UID>1.5</imageSOP_UID>" + roi("1.5", 0, SQUARE)
    file.write_text(annotation("1.2.3", [session(other + "</nonNodule>", nodule(""))]))
    assert read_annotation(file).sessions[0].nodules == ()


def test_a_missing_position_and_inclusion_and_another_namespace_are_accepted(file: Path) -> None:
    text = annotation("1.2.3", [session(nodule(roi("1.5", 0, SQUARE)))])
    text = text.replace("<imageZposition>0</imageZposition>", "").replace("<inclusion>TRUE</inclusion>", "")
    file.write_text(text.replace('xmlns="http://www.nih.gov"', "").replace("SeriesInstanceUid", "SeriesInstanceUID"))
    (contour,) = read_annotation(file).sessions[0].nodules[0].contours
    assert (contour.z, contour.inclusion) == (None, True)


def test_the_annotation_of_a_radiograph_is_none_of_a_ct_series(file: Path) -> None:
    assert "no LIDC annotation of a CT series" in reason(file, radiograph_annotation("1.2.3"))
    assert annotated_series(file) is None


def test_a_contour_must_name_its_slice(file: Path) -> None:
    assert reason(file, WHOLE.replace("<imageSOP_UID>1.5</imageSOP_UID>", "")) == (
        "071.xml: has a contour that names no slice"
    )


def test_an_annotation_must_name_its_series(file: Path) -> None:
    assert reason(file, WHOLE.replace("SeriesInstanceUid", "Other")) == "071.xml: names no CT series"
    assert annotated_series(file) is None


@pytest.mark.parametrize("bad", ["-1", "4.5", "1e3", "99999999999999999999", "٤", "", "NaN"])
def test_an_edge_point_must_be_a_pixel_index(file: Path, bad: str) -> None:
    assert "no pixel index" in reason(file, WHOLE.replace("<xCoord>4</xCoord>", f"<xCoord>{bad}</xCoord>"))
    assert "without both coordinates" in reason(file, WHOLE.replace("<xCoord>4</xCoord>", ""))


def test_a_damaged_file_is_refused_and_its_series_is_known_while_the_header_is_whole(file: Path) -> None:
    assert reason(file, WHOLE[: len(WHOLE) // 2]).endswith("cannot be read, the file is damaged or incomplete")
    assert annotated_series(file) == "1.2.3"
    assert "damaged" in reason(file, b"")
    assert "damaged" in reason(file, b"\0" * 400)
    assert "damaged" in reason(file, WHOLE.replace("UTF-8", "utf-7"))
    file.unlink()
    with pytest.raises(BadStudyError, match="cannot be read"):
        annotated_series(file)


def test_only_the_start_of_a_file_is_read_for_its_series(file: Path) -> None:
    file.write_text(WHOLE.replace("</LidcReadMessage>", " " * 2_000_000 + "<not closed"))
    assert annotated_series(file) == "1.2.3"


def test_an_entity_bomb_is_refused_before_it_grows(file: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = WHOLE.replace("<LidcReadMessage", f"<!DOCTYPE LidcReadMessage [{entities}]><LidcReadMessage", 1)
    assert reason(file, bomb.replace("first", "&a11;")) == ("071.xml: has a document type, which no annotation has")
    with pytest.raises(BadStudyError, match="document type"):
        annotated_series(file)


def test_an_external_entity_is_refused_and_never_opened(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("1.2.3.4")
    header = f'<!DOCTYPE LidcReadMessage [<!ENTITY s SYSTEM "{secret.as_uri()}">]><LidcReadMessage'
    assert "document type" in reason(file, WHOLE.replace("<LidcReadMessage", header, 1).replace("first", "&s;"))


def test_a_huge_or_deeply_nested_file_is_refused(file: Path) -> None:
    assert "too many for an annotation" in reason(file, WHOLE + " " * (8 * 2**20))
    assert "nested too deep" in reason(file, WHOLE.replace("<noduleID>1<", "<x>" * 100_000 + "<noduleID>1<"))


def test_more_nodules_or_contours_than_any_reader_draws_are_refused(file: Path) -> None:
    one = nodule(roi("1.5", 0, SQUARE))
    assert "more than 500 nodules" in reason(file, annotation("1.2.3", [session(one * 501)]))
    assert "more than 5000 contours" in reason(
        file, annotation("1.2.3", [session(nodule(roi("1.5", 0, SQUARE) * 5001))])
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=6)), min_size=1, max_size=5))
def test_a_mutated_file_is_read_or_refused_but_never_fails_otherwise(file: Path, changes: list) -> None:
    content = bytearray(WHOLE.encode())
    for at, new in changes:
        content[at : at + max(1, len(new))] = new
    file.write_bytes(bytes(content))
    for read in (read_annotation, annotated_series):
        with suppress(BadStudyError):
            read(file)
