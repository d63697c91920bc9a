from common.imaging.listing import list_files, listing_digest, signature
from common.imaging.patient import StudyLocation


def test_the_signature_follows_the_listed_files_or_all_below_the_path(tmp_path) -> None:
    listed, other = tmp_path / "a.nii", tmp_path / "sub" / "b.nii"
    other.parent.mkdir()
    listed.write_text("1")
    other.write_text("1")
    some, everything = StudyLocation("p", tmp_path, (listed,)), StudyLocation("p", tmp_path)
    single = StudyLocation("p", listed)
    before = [signature([location], list_files(tmp_path)) for location in (some, everything, single)]
    assert before[0] == before[2] != before[1]
    (tmp_path / ".hidden").write_text("not counted")
    assert [signature([location], list_files(tmp_path)) for location in (some, everything, single)] == before
    other.write_text("22")
    after = [signature([location], list_files(tmp_path)) for location in (some, everything, single)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    listed.unlink()
    assert signature([some], list_files(tmp_path)) not in before


def test_the_listing_changes_with_any_visible_file_and_not_with_hidden_ones(tmp_path) -> None:
    def digest() -> str:
        return listing_digest(tmp_path, list_files(tmp_path))

    empty = digest()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.dcm").write_text("1")
    one = digest()
    assert one != empty
    (tmp_path / ".DS_Store").write_text("not counted")
    assert digest() == one
    (tmp_path / "deep" / "er" / "a.dcm").chmod(0o400)
    assert digest() != one


def test_a_link_that_leads_nowhere_is_passed_over(tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert list_files(tmp_path) == {}
