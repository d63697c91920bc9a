"""Each key, option and choice that a refusal names exists; none sends a hospital to mend files where a setting helps.

Read from the source: what stands in the texts of errors, whether or not a test ever raises them.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from client.site import PrivacySettings, Shares, SiteSettings
from common.imaging.readers.registry import READERS, known_options
from common.study.experiment import Experiment, PreprocessingConfig

ROOT = Path(__file__).parents[1]
ROOMS = ("common", "client", "simulation", "server", "configs")
ERRORS = {
    "ConfigError",
    "DataError",
    "BadStudyError",
    "RefusalError",
    "StudyError",
    "WeightsError",
    "PrivacyError",
    "NotNowError",
}
HOLE = "\N{WHITE SQUARE}"
"""Stands for what is filled in when the text is made."""


@dataclasses.dataclass(frozen=True)
class Text:
    """What one refusal says."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def _said(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """The text of an expression, with a hole for each part that is not known before it runs."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(one, constants) for one in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _said(node.left, constants) + _said(node.right, constants)
    if isinstance(node, ast.IfExp):
        return f"{_said(node.body, constants)} {HOLE} {_said(node.orelse, constants)}"
    if isinstance(node, ast.FormattedValue) and not isinstance(node.value, ast.Call):
        inner = _said(node.value, constants)
        return inner if inner != HOLE else HOLE
    if isinstance(node, ast.Name) and node.id in constants:
        return _said(constants[node.id], {})
    return HOLE


def _texts_of(file: Path) -> Iterator[Text]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ERRORS:
            said = " ".join(_said(one, constants) for one in node.args)
            if said.replace(HOLE, "").strip():
                yield Text(file.relative_to(ROOT).as_posix(), node.lineno, said)


@cache
def texts() -> tuple[Text, ...]:
    """Every refusal of the project."""
    return tuple(text for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")) for text in _texts_of(file))


OPTIONS = {option for reader in READERS for option in known_options(reader)}
SITE_KEYS = {*SiteSettings.model_fields}
SECTIONS: dict[str, type[BaseModel]] = {"privacy": PrivacySettings, "shares": Shares}
STEPS = {field.name for field in dataclasses.fields(PreprocessingConfig)}


def study_key_exists(key: str) -> bool:
    """Whether a dotted key leads through the experiment's dataclasses; a hole, ``*`` or ``<name>`` is any entry."""
    kind: Any = Experiment
    for part in key.split("."):
        if kind is Any or (get_origin(kind) is dict and get_args(kind)[1] is Any):
            return True
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif dataclasses.is_dataclass(kind):
            if part == HOLE:
                return True
            hints = get_type_hints(kind)
            if part not in hints:
                return False
            kind = hints[part]
        else:
            return False
    return True


def site_key_exists(key: str) -> bool:
    """Whether ``a`` or ``a.b`` is a key of ``site.yaml``; what stands below an open mapping may be anything."""
    first, _, rest = key.partition(".")
    if first not in SITE_KEYS:
        return False
    if not rest or rest == HOLE or first in ("options", "steps", "weights"):
        return True
    return rest in SECTIONS[first].model_fields if first in SECTIONS else False


STUDY_SECTIONS = "|".join(field.name for field in dataclasses.fields(Experiment) if field.name not in ("name", "seed"))
NAME = rf"(?:[a-z_][a-z0-9_]*|\*|<[a-z]+>|{HOLE})"
PATTERNS = {
    "option": re.compile(r"\boptions\.([a-z0-9_]+)"),
    "option of a reader": re.compile(r"\breader [a-z_]+: .*?\be\.g\. ([a-z_]+): [\[{]"),
    "step": re.compile(r"\bsteps: \{([a-z_]+)|\bsteps\.([a-z_]+)"),
    "site key": re.compile(rf"site\.yaml: ({NAME}(?:\.{NAME})*)\b(?=[: ,;.]|$)"),
    "site setting": re.compile(r"(?<!\{)\b([a-z_]+): [\w\[{][^;:]{0,40}? (?:in|into|to|of) (?:its )?site\.yaml"),
    "site setting, named": re.compile(r"\b([a-z]+_[a-z_]+) in (?:its )?site\.yaml"),
    "study key": re.compile(rf"(?<![\w./-])((?:{STUDY_SECTIONS})(?!\.yaml)(?:\.{NAME})+)"),
}


def keys_in(text: str) -> Iterator[tuple[str, str]]:
    """(kind, key) of what a text names."""
    for kind, pattern in PATTERNS.items():
        for found in pattern.finditer(text):
            yield kind, next(group for group in found.groups() if group)


def exists(kind: str, key: str) -> bool:
    """Whether there is such a key."""
    if kind.startswith("option"):
        return key in OPTIONS
    if kind == "step":
        return key in STEPS
    if kind.startswith("site"):
        return HOLE in key or site_key_exists(key)
    # What the hospital's own file and a study both call privacy, weights or steps.
    return study_key_exists(key) or site_key_exists(key)


def test_there_are_many_refusals_and_many_keys_in_them() -> None:
    named = [key for text in texts() for key in keys_in(text.text)]
    assert len(texts()) > 300
    assert len(named) > 60
    assert {kind for kind, _ in named} >= {"site key", "site setting", "study key"}


def test_every_key_that_a_refusal_names_exists() -> None:
    wrong = [
        f"{kind} {key!r} in {text}" for text in texts() for kind, key in keys_in(text.text) if not exists(kind, key)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("said", "kind", "key"),
    [
        ("name it in options.tumor_labels", "option", "tumor_labels"),
        ("set organs.brain.steps.strech", "study key", "organs.brain.steps.strech"),
        (f"organs.{HOLE}.stepz", "study key", f"organs.{HOLE}.stepz"),
        ("write steps: {skullstrip: true}", "step", "skullstrip"),
        ("site.yaml: patient: there is none", "site key", "patient"),
        ("site.yaml: privacy.eps: too small", "site key", "privacy.eps"),
        ("or set identifying: quarantine in site.yaml", "site setting", "identifying"),
        ("lower strategy.quorums", "study key", "strategy.quorums"),
        ("simulation.run_dir=/x: no", "study key", "simulation.run_dir"),
        (f"site.{HOLE}.pth=x", "study key", f"site.{HOLE}.pth"),
        ("reader image_folder: list them, e.g. tumor_classes: [a]", "option of a reader", "tumor_classes"),
    ],
)
def test_a_key_that_does_not_exist_would_be_found(said: str, kind: str, key: str) -> None:
    assert (kind, key) in list(keys_in(said))
    assert not exists(kind, key)


@pytest.mark.parametrize(
    "said",
    [
        "site.yaml: privacy.epsilon: too small",
        "write identifying_data: quarantine in site.yaml",
        "organs.*.contrasts",
        f"partition.<name>.least, models.{HOLE}.anything.at.all, site.{HOLE}.path",
        "steps: {skull_strip: true}",
    ],
)
def test_keys_that_exist_are_found_and_left_alone(said: str) -> None:
    found = list(keys_in(said))
    assert found
    assert all(exists(kind, key) for kind, key in found)


MEND = re.compile(r"\b(mend|repair|fix|edit|correct) (the|these|those|its|or|your)\b")

ALLOWED = {
    ("common/imaging/readers/image_folder.py", "cannot be read as a table"): "a table of the hospital's own making",
    ("common/imaging/readers/public_names.py", "cannot be read as a table"): "the same table",
    ("common/imaging/patients_table.py", "cannot be read as a table"): "the same table",
    ("common/imaging/prepare.py", "are quarantined"): "the reasons before it name what helps; the way out is there too",
    ("common/imaging/prepare.py", "correct the site's list of patients"): "the list is a setting of the hospital",
    ("server/roster.py", "Lower strategy.quorum"): "a coordinator cannot say more of another's machine",
}
"""Texts that may send somebody to mend something, and why no setting would help instead."""


def test_no_refusal_sends_a_hospital_to_mend_files_where_a_setting_helps() -> None:
    told = [text for text in texts() if MEND.search(text.text)]
    assert [
        str(text) for text in told if not any(text.file == file and part in text.text for file, part in ALLOWED)
    ] == []
