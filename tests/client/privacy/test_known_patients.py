"""The register of patients: none has a second ledger at another node of the hospital, and no name stands in it."""

import multiprocessing
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest

from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.command import budget as budget_command
from client.privacy.known_patients import ClaimedError, claim
from client.privacy.ledger import LedgerError
from client.site import SiteSettings, load_site, save_site
from common.errors import ConfigError

NAMES = ("Müller^Anna", "case-17", "\udcff-odd")


def node(home: Path, name: str, **privacy: Any) -> SiteSettings:
    """A hospital's node; nodes in one ``home`` lie side by side."""
    file = home / name / "site.yaml"
    values = {"name": name, "reader": "brats", "organ": "brain", "path": home / "data", "folder": home / name}
    own = {"epsilon": 8.0, "patients": 40, **privacy}
    save_site(SiteSettings.model_validate({**values, "cache_dir": home / "cache", "privacy": own}), file)
    return load_site(file)


def spend(budget: Budget) -> None:
    budget.charge(run="r", mechanism="m", sigma=4.0, q=0.1, steps=10, run_cap=inf)


def test_a_patient_has_one_ledger(tmp_path: Path) -> None:
    claim(tmp_path, "one", NAMES)
    claim(tmp_path, "one", (*NAMES, "new"))
    before = (tmp_path / "patients.json").read_bytes()
    with pytest.raises(ClaimedError) as error:
        claim(tmp_path, "two", ["new", "case-17", "another"])
    text = str(error.value)
    assert error.value.claimants == {"one"}
    assert str(tmp_path) in text
    assert "2 of the 3 training patients" in text
    assert "privacy.folder" in text
    assert "--reopen" in text
    assert (tmp_path / "patients.json").read_bytes() == before
    claim(tmp_path, "two", ["another"])


def test_no_name_stands_in_it_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    register = tmp_path / "register"
    claim(register, "one", NAMES)
    written = b"".join(file.read_bytes() for file in register.iterdir())
    assert b"case-17" not in written
    assert b"Anna" not in written
    assert register.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in register.iterdir())


def test_the_same_name_has_another_fingerprint_in_another_hospital(tmp_path: Path) -> None:
    claim(tmp_path / "a", "one", ["case-17"])
    claim(tmp_path / "b", "one", ["case-17"])
    assert (tmp_path / "a" / "patients.json").read_bytes() != (tmp_path / "b" / "patients.json").read_bytes()


def test_a_ledger_that_was_begun_anew_takes_its_patients_over_for_good(tmp_path: Path) -> None:
    claim(tmp_path, "old", NAMES)
    claim(tmp_path, "new", NAMES, {"old"})
    with pytest.raises(ClaimedError):
        claim(tmp_path, "old", NAMES)


@pytest.mark.parametrize(
    ("file", "content"), [("key", None), ("key", b"short"), ("patients.json", b"{"), ("patients.json", b'{"a": 1}')]
)
def test_a_damaged_register_is_refused_by_name(tmp_path: Path, file: str, content: bytes | None) -> None:
    claim(tmp_path, "one", NAMES)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(LedgerError, match=rf"{file}: is gone or damaged.* backup"):
        claim(tmp_path, "one", NAMES)


def test_a_place_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "register").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match=r"register.* cannot be read or written"):
        claim(tmp_path / "register", "one", NAMES)


def _claims(register: Path, ledger: str) -> None:
    for index in range(20):
        claim(register, ledger, [f"{ledger}-{index}"])


def test_processes_that_claim_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_claims, args=(tmp_path, ledger)) for ledger in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for ledger, other in (("one", "two"), ("two", "one")):
        for index in range(20):
            with pytest.raises(ClaimedError):
                claim(tmp_path, other, [f"{ledger}-{index}"])


def test_a_second_node_with_a_ledger_of_its_own_is_refused_the_same_patients(tmp_path: Path) -> None:
    first, second = (Budget(node(tmp_path, name)) for name in ("north", "south"))
    first.claim(["a", "b"])
    second.claim(["c"])
    with pytest.raises(LedgerError, match=r"\.oncofed-patients: 1 of the 2 training patients"):
        second.claim(["b", "c"])


def test_nodes_that_share_a_ledger_share_its_cap(tmp_path: Path) -> None:
    shared = tmp_path / "hospital" / "privacy"
    first, second = (Budget(node(tmp_path, name, folder=shared)) for name in ("north", "south"))
    for one in (first, second):
        one.claim(["a", "b"])
        spend(one)
    assert first.epsilon() == second.epsilon() > Budget(node(tmp_path, "east")).epsilon()
    # A study is told what this node spent on it, though the other's bears the same name.
    assert sum(one.steps for one in first.spent("r")) == 10
    with suppress(BudgetSpentError):
        while True:
            first.charge(run="r", mechanism="m", sigma=2.0, q=0.5, steps=5, run_cap=inf)
    with pytest.raises(BudgetSpentError):
        second.charge(run="r", mechanism="m", sigma=2.0, q=0.5, steps=5, run_cap=inf)


def test_if_the_other_ledger_is_lost_one_begun_in_its_place_counts_its_budget_as_spent(tmp_path: Path) -> None:
    """The whole folder of a site is removed and made anew; the register beside it remembers its patients."""
    lost = node(tmp_path, "north")
    Budget(lost).claim(["a"])
    for file in (*lost.folder.rglob("*"), lost.ledger_files().head):
        if file.is_file():
            file.unlink()
    again = node(tmp_path, "north")
    Budget(again)
    with pytest.raises(ConfigError, match="is sound"):
        budget_command(again.folder / "site.yaml", [], None, reopen="lost")
    with pytest.raises(ClaimedError):
        Budget(again).claim(["a"])
    budget_command(again.folder / "site.yaml", [], None, as_json=True, reopen="lost")
    after = Budget(again)
    after.claim(["a"])
    assert after.epsilon() == 8.0
    with pytest.raises(BudgetSpentError):
        spend(after)
