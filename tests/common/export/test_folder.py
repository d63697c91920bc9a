from pathlib import Path

import pytest

from common.errors import ConfigError
from common.export.folder import new_folder


def fill(target: Path, text: str, replace: bool = False) -> None:
    with new_folder(target, mark="mark", replace=replace) as place:
        (place / "mark").write_text(text)


def test_the_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with new_folder(target, mark="mark") as place:
        (place / "mark").touch()
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["mark"]
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    target = tmp_path / "set"
    fill(target, "first")
    with pytest.raises(FileNotFoundError), new_folder(target, mark="mark", replace=True) as place:
        (place / "no such folder" / "mark").touch()
    assert (target / "mark").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_earlier_export_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "set"
    fill(target, "first")
    (target / "left over").touch()
    with pytest.raises(ConfigError, match="earlier export"):
        fill(target, "second")
    assert (target / "mark").read_text() == "first"
    fill(target, "third", replace=True)
    assert [(p.name, p.read_text()) for p in target.iterdir()] == [("mark", "third")]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    fill(tmp_path / "set", "first")
    assert (tmp_path / "set" / "mark").read_text() == "first"


def test_nothing_but_an_earlier_export_is_ever_removed(tmp_path: Path) -> None:
    other, file, link = tmp_path / "other", tmp_path / "file", tmp_path / "link"
    other.mkdir()
    (other / "thesis.tex").touch()
    file.touch()
    link.symlink_to(other)
    with pytest.raises(ConfigError, match="something else"):
        fill(other, "x", replace=True)
    for target in (file, link):
        with pytest.raises(ConfigError, match="is no folder"):
            fill(target, "x", replace=True)
    assert (other / "thesis.tex").exists()
