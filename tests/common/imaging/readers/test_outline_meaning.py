"""Names of outlines beside a hospital's lists."""

import pytest

from common.errors import ConfigError
from common.imaging.dicom.outlines import plain_name, plain_pattern
from common.imaging.patterns import matched
from common.imaging.readers.outline_meaning import OutlineNames


@pytest.mark.parametrize(
    ("name", "pattern", "is_fitting"),
    [
        ("gtv", "gtv", True),
        ("gtv", "GTV ", True),
        ("GTV  p", "gtv p", True),
        ("GTV\u00a0p", "gtv p", True),
        ("GTV p\0", "gtv p", True),
        ("Lésion", "le\u0301sion", True),
        ("STRASSE", "straße", True),
        ("gtvp", "gtv", False),
        ("gtvp", "gtv*", True),
        ("gtv", "gtv*", True),
        ("my gtv", "gtv*", False),
        ("my gtv 1", "*GTV*", True),
        ("gtv old 1", "gtv*1", True),
        ("gtv 12", "gtv*1", False),
        ("gtv.1", "gtv?1", False),
        ("gtv1", "gtv[1]", False),
        ("gtv[1]", "gtv[1]", True),
        ("gtv1", "gtv.", False),
        ("a\nb", "a*b", True),
        ("anything", "*", True),
        ("", "unnamed", True),
        ("gtv*", "gtv*", True),
        ("gtv*", "gtv_", True),
    ],
)
def test_a_name_fits_whatever_its_case_and_spaces_and_only_an_asterisk_is_special(
    name: str, pattern: str, is_fitting: bool
) -> None:
    assert (matched([plain_pattern(pattern)], plain_name(name)) is not None) is is_fitting


def test_the_answer_to_a_question_names_that_outline_alone() -> None:
    """An outline that is called ``GTV*`` must not turn into a pattern where its name is pasted into a list."""
    asked = plain_name("GTV*")
    names = OutlineNames("dicom", ("mass",), other_segments=(asked,))
    assert names.meaning(asked) == "other_segments"
    assert names.meaning("gtv1") is None


def test_a_name_written_out_counts_before_patterns() -> None:
    names = OutlineNames("dicom", ("*tumour", "liver*"), ("liver",), ("liver tumour", "*"))
    assert names.meanings("liver") == ("organ_segments",)
    assert names.meanings("liver tumour") == ("other_segments",)
    assert names.meanings("my tumour") == ("tumour_segments", "other_segments")
    assert names.meanings("cord") == ("other_segments",)


def test_a_long_name_is_cut_alike_wherever_it_stands() -> None:
    assert OutlineNames("dicom", ("x" * 300,)).meaning(plain_name("X" * 300)) == "tumour_segments"


def test_one_name_cannot_mean_two_things() -> None:
    for lists in [(("a",), ("A",), ()), (("a",), (), (" a",)), (("x",), ("b*",), ("B*",))]:
        with pytest.raises(ConfigError, match=r"reader dicom: .* stands in .* and in .*; keep it in one of them"):
            OutlineNames("dicom", *lists)
    assert OutlineNames("dicom", ("a", "A"), empty_segments=("a",)).tumour_segments == ("a",)
