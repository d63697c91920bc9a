"""What is outside a ledger and knows how far it had come: each witness alone refuses a ledger that was set back."""

import json
import shutil
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from client.audit.log import AuditLog
from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.command import budget as budget_command
from client.privacy.coordinators_copy import coordinators_copy, heed
from client.privacy.ledger import Ledger, LedgerError
from client.privacy.witness import Witness, _of_record_and_results, is_behind, standing, witnesses
from client.site import SiteSettings, load_site, save_site
from common.results.privacy import LedgerWitness
from common.system.files import write_json


def site(home: Path, name: str = "north", **privacy: object) -> SiteSettings:
    file = home / name / "site.yaml"
    values = {"name": name, "reader": "brats", "organ": "brain", "path": home / "data", "folder": home / name}
    own = {"epsilon": 8.0, "patients": 40, **privacy}
    save_site(SiteSettings.model_validate({**values, "cache_dir": home / "cache", "privacy": own}), file)
    return load_site(file)


def spend(settings: SiteSettings, number: int = 1) -> Budget:
    budget = Budget(settings)
    for _ in range(number):
        budget.charge(run="r", mechanism="m", sigma=4.0, q=0.05, steps=10, run_cap=inf)
    return budget


def keep(settings: SiteSettings, place: Path) -> None:
    place.mkdir()
    for file in (settings.ledger_files().ledger, settings.ledger_files().head):
        shutil.copy(file, place / file.name)


def put_back(settings: SiteSettings, place: Path) -> None:
    for file in (settings.ledger_files().ledger, settings.ledger_files().head):
        shutil.copy(place / file.name, file)


def remove(settings: SiteSettings) -> None:
    settings.ledger_files().ledger.unlink()
    settings.ledger_files().head.unlink()


def another_process() -> None:
    """Record and results are read once in a process."""
    _of_record_and_results.cache_clear()


Testimony = Callable[[], None]
"""Lets the witness speak, in a process that begins now."""


def record(settings: SiteSettings) -> Testimony:
    AuditLog(settings.audit_files()).write("answered", message="1", ledger=standing(Budget(settings).ledger).values())
    AuditLog(settings.audit_files()).write("asked", message='{"ledger": {"count": 9}}')
    return another_process


def results(settings: SiteSettings) -> Testimony:
    told = {"ledger": standing(Budget(settings).ledger).values(), "cap": 8.0}
    write_json(settings.run_folder("spring") / "results" / "privacy.json", told)
    return another_process


def coordinator(settings: SiteSettings) -> Testimony:
    copy = coordinators_copy(settings, Budget(settings).ledger).model_dump_json()
    return lambda: heed(settings, copy)


SAYS = {record: "audit.jsonl", results: "privacy.json", coordinator: "refused.json"}


@pytest.mark.parametrize("witness", SAYS)
@pytest.mark.parametrize("how", ["older", "removed"])
def test_a_ledger_that_was_set_back_is_refused_by_each_witness(
    tmp_path: Path, witness: Callable[[SiteSettings], Testimony], how: str
) -> None:
    settings = site(tmp_path)
    open_one = spend(settings, 2)
    keep(settings, tmp_path / "backup")
    spend(settings, 3)
    keep(settings, tmp_path / "newest")
    testify = witness(settings)
    testify()
    assert len(Budget(settings).ledger.entries()) == 5
    if how == "older":
        put_back(settings, tmp_path / "backup")
    else:
        remove(settings)
    # Nothing in the two files themselves tells.
    assert len(Ledger(settings.ledger_files(), settings.name).entries()) == (2 if how == "older" else 0)
    testify()
    with pytest.raises(LedgerError) as error:
        Budget(settings)
    text = str(error.value)
    assert SAYS[witness] in text
    assert "5 charges" in text
    assert str(settings.ledger_files().ledger) in text
    assert "--reopen" in text
    # The newest pair is the way out, and so is a ledger that counts everything as spent.
    put_back(settings, tmp_path / "newest")
    assert len(Budget(settings).ledger.entries()) == 5
    assert open_one.ledger.id == Budget(settings).ledger.id
    put_back(settings, tmp_path / "backup")
    budget_command(settings.folder / "site.yaml", [], None, as_json=True, reopen="an older backup")
    testify()
    after = Budget(settings)
    assert (after.epsilon(), after.delta_total) == (8.0, pytest.approx(2e-5))
    assert not settings.ledger_files().refused.exists()
    with pytest.raises(BudgetSpentError):
        spend(settings)


@pytest.mark.parametrize("witness", SAYS)
def test_after_it_was_begun_anew_the_new_ledger_has_witnesses_too(
    tmp_path: Path, witness: Callable[[SiteSettings], Testimony]
) -> None:
    settings = site(tmp_path)
    spend(settings, 2)
    keep(settings, tmp_path / "first")
    settings.ledger_files().head.unlink()
    budget_command(settings.folder / "site.yaml", [], None, as_json=True, reopen="lost")
    settings = site(tmp_path, epsilon=20.0)
    keep(settings, tmp_path / "second")
    spend(settings, 2)
    testify = witness(settings)
    for older in ("first", "second"):
        put_back(settings, tmp_path / older)
        testify()
        with pytest.raises(LedgerError, match="is behind"):
            Budget(settings)


def test_with_all_witnesses_and_keys_removed_nobody_sees_it(tmp_path: Path) -> None:
    """It stands in what epsilon does not cover."""
    settings = site(tmp_path)
    spend(settings, 2)
    testify, _ = coordinator(settings), record(settings)
    remove(settings)
    settings.ledger_files().key.unlink()
    shutil.rmtree(settings.patient_register())
    settings.audit_files().log.unlink()
    another_process()
    testify()
    assert Budget(settings).epsilon() == 0.0


def test_a_ledger_whose_whole_folder_is_removed_is_missed(tmp_path: Path) -> None:
    settings = site(tmp_path)
    spend(settings, 2)
    testify = coordinator(settings)
    shutil.rmtree(settings.folder / "privacy")
    settings.ledger_files().head.unlink()
    testify()
    with pytest.raises(LedgerError, match="is behind what a coordinator brought back"):
        Budget(settings)


@pytest.mark.parametrize(
    "forge",
    [
        lambda copy: copy.model_copy(update={"count": 99}).model_dump_json(),
        lambda copy: copy.model_copy(update={"hash": "0" * 64}).model_dump_json(),
        lambda copy: copy.model_copy(update={"node": "0" * 32}).model_dump_json(),
        lambda copy: copy.model_copy(update={"mac": "0" * 64}).model_dump_json(),
        lambda copy: '{"node": "../../etc", "count": -1}',
        lambda copy: "{" * 300,
        lambda copy: "[]",
    ],
)
def test_a_coordinator_cannot_lock_a_ledger_by_forging(
    tmp_path: Path, forge: Callable[[LedgerWitness], str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = site(tmp_path)
    copy = coordinators_copy(settings, spend(settings, 2).ledger)
    heed(settings, forge(copy))
    assert "counts for nothing" in caplog.text
    assert not settings.ledger_files().refused.exists()
    spend(settings)


def test_an_older_copy_that_is_sent_again_does_no_harm(tmp_path: Path) -> None:
    settings = site(tmp_path)
    nothing = coordinator(settings)
    spend(settings, 2)
    early = coordinator(settings)
    spend(settings, 2)
    for testify in (nothing, early, early):
        testify()
    spend(settings)


def test_a_copy_of_another_node_locks_nothing(tmp_path: Path) -> None:
    """Not of one with a ledger of its own beside it, nor of one that shares this ledger and is further on."""
    north, south = site(tmp_path, "north"), site(tmp_path, "south")
    copy = coordinators_copy(north, spend(north, 3).ledger).model_dump_json()
    spend(south)
    heed(south, copy)
    spend(south)
    shared = tmp_path / "together" / "privacy"
    east, west = site(tmp_path, "east", folder=shared), site(tmp_path, "west", folder=shared)
    copy = coordinators_copy(east, spend(east, 3).ledger).model_dump_json()
    spend(west)
    heed(west, copy)
    spend(west)


def test_a_coordinator_learns_nothing_of_what_other_nodes_charge(tmp_path: Path) -> None:
    shared = tmp_path / "together" / "privacy"
    east, west = site(tmp_path, "east", folder=shared), site(tmp_path, "west", folder=shared)
    before = coordinators_copy(east, spend(east, 3).ledger)
    spend(west, 4)
    assert coordinators_copy(east, Budget(east).ledger) == before
    assert coordinators_copy(west, Budget(west).ledger).count == 4


def test_any_node_of_a_shared_ledger_sees_that_it_was_set_back(tmp_path: Path) -> None:
    shared = tmp_path / "together" / "privacy"
    east, west = site(tmp_path, "east", folder=shared), site(tmp_path, "west", folder=shared)
    spend(east, 2)
    keep(east, tmp_path / "backup")
    spend(east, 1)
    testify = coordinator(east)
    put_back(east, tmp_path / "backup")
    testify()
    for node in (east, west):
        with pytest.raises(LedgerError, match="is behind"):
            Budget(node)


def test_of_a_ledger_that_could_not_be_read_any_witness_is_taken(tmp_path: Path) -> None:
    settings = site(tmp_path)
    spend(settings, 2)
    settings.ledger_files().ledger.write_bytes(b"\x00")
    settings.ledger_files().head.write_bytes(b"\x00")
    budget_command(settings.folder / "site.yaml", [], None, as_json=True, reopen="the disk failed")
    ledger = Budget(settings).ledger
    assert not is_behind(ledger, Witness("whatever it was", "n", 7, "f" * 64))
    assert is_behind(ledger, Witness(ledger.id, "n", 7, "f" * 64))


def test_damaged_lines_and_results_are_no_witnesses(tmp_path: Path) -> None:
    settings = site(tmp_path)
    spend(settings, 2)
    settings.audit_files().log.write_bytes(b'{"ledger"\n{"entry": {"ledger": 3}}\n[{"ledger": 1}]\n')
    write_json(settings.folder / "runs" / "a" / "results" / "privacy.json", {"ledger": {"count": True}})
    (settings.folder / "results").mkdir()
    (settings.folder / "results" / "privacy.json").write_text("nothing")
    another_process()
    assert witnesses(settings) == []
    spend(settings)


def test_objections_that_cannot_be_read_refuse(tmp_path: Path) -> None:
    settings = site(tmp_path)
    spend(settings)
    settings.ledger_files().refused.write_text("nothing")
    with pytest.raises(LedgerError, match=r"refused\.json: cannot be read.*--reopen"):
        Budget(settings)
    budget_command(settings.folder / "site.yaml", [], None, as_json=True, reopen="damaged")
    assert Budget(settings).epsilon() == 8.0


def test_what_is_written_down_is_read_back() -> None:
    witness = Witness("id", "node", 3, "f" * 64, "somewhere")
    assert Witness.read(json.loads(json.dumps(witness.values())), "elsewhere") == witness
