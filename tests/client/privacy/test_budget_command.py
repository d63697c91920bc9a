"""``oncofed-client budget`` as a hospital's operator gives it."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import TINY, write_site

from client.cli import main
from client.privacy.accounting import Mechanism, prv_epsilon, rdp_epsilon
from client.privacy.budget import Budget
from client.privacy.ledger import WAY_OUT
from client.site import load_site
from common.study.privacy import NOT_COVERED

PAGE = Path(__file__).parents[3] / "docs" / "privacy.md"
PRIVATE = (*TINY, "privacy=patient_dp", "privacy.expected_batch_size=4")
SPENT = [Mechanism("gan/cgan/discriminator", 4.0, 0.1, 300), Mechanism("gan/cgan/generator", 4.0, 0.1, 300)]


@dataclass(frozen=True)
class Said:
    """What the command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output without its line breaks."""
        return " ".join(self.out.split())


Client = Callable[..., Said]


@pytest.fixture
def client(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("COLUMNS", "160")

    def run(site: Path, *more: str) -> Said:
        with pytest.raises(SystemExit) as exit_:
            main(["budget", str(site), *more])
        said = capsys.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run


def site_file(folder: Path, privacy: str = "{epsilon: 8.0, patients: 40}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "site.yaml"
    lines = ["name: hospital1", "reader: brats", "organ: brain", "path: data"]
    file.write_text("\n".join([*lines, *([f"privacy: {privacy}"] if privacy else [])]) + "\n")
    return file


def spend(file: Path, run: str = "winter") -> None:
    budget = Budget(load_site(file))
    for one in SPENT:
        for _ in range(3):
            budget.charge(run=run, mechanism=one.name, sigma=one.sigma, q=one.q, steps=one.steps // 3, run_cap=inf)


def account(said: Said) -> dict[str, Any]:
    assert said.code == 0, said.err
    read: dict[str, Any] = json.loads(said.out)
    return read


def test_nothing_spent(tmp_path: Path, client: Client) -> None:
    said = client(site_file(tmp_path / "site"))
    assert said.code == 0
    assert "epsilon 0.00 of 8 is spent, 8.00 is left (delta 1e-05, 40 patients declared)" in said.words
    assert "No training is charged in this ledger yet." in said.words


def test_the_account_in_words_and_as_json(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    spend(file)
    told = account(client(file, "--json"))
    assert [(one["run"], one["mechanism"], one["steps"]) for one in told["mechanisms"]] == [
        ("winter", one.name, one.steps) for one in SPENT
    ]
    assert told["mechanisms"][0]["epsilon"] == pytest.approx(prv_epsilon(SPENT[:1], 1e-5))
    assert told["spent"] == pytest.approx(rdp_epsilon(SPENT, 1e-5))
    assert told["spent_prv"] == pytest.approx(prv_epsilon(SPENT, 1e-5))
    assert told["left"] == pytest.approx(8.0 - told["spent"])
    assert told["charges"] == 6
    assert told["delta"] == told["delta_total"] == 1e-5
    assert told["not_covered"] == list(NOT_COVERED)
    words = client(file).words
    for shown in ("winter", "gan/cgan/discriminator", f"{told['spent']:.2f}", f"{told['spent_prv']:.2f}"):
        assert shown in words
    for sentence in NOT_COVERED:
        assert sentence in words


def test_it_charges_nothing(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    spend(file)
    files = load_site(file).ledger_files()
    before = files.ledger.read_bytes(), files.head.read_bytes()
    client(file)
    client(file, "--json")
    assert (files.ledger.read_bytes(), files.head.read_bytes()) == before


def test_what_a_study_would_cost_fits_what_is_left(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    write_site(file.parent / "data", 8, seed=3)
    fresh = account(client(file, *PRIVATE, "--json"))["study"]
    spend(file)
    before = account(client(file, "--json"))
    told = account(client(file, *PRIVATE, "--json"))
    study = told["study"]
    assert study["possible"]
    assert study["q"] == pytest.approx(4 / 40)
    assert {name.rpartition("/")[2] for name in study["steps"]} == {"discriminator", "generator", "classifier"}
    made = [Mechanism(name, study["sigma"], study["q"], steps) for name, steps in study["steps"].items()]
    assert study["epsilon"] == pytest.approx(rdp_epsilon(made, 1e-5))
    assert rdp_epsilon([*SPENT, *made], 1e-5) <= 8.0
    assert study["sigma"] >= fresh["sigma"]
    assert {key: told[key] for key in before} == before
    assert f"noise sigma {study['sigma']:.3f}" in client(file, *PRIVATE).words


def test_a_study_that_no_longer_fits(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    write_site(file.parent / "data", 8, seed=3)
    spend(file)
    cap = account(client(file, "--json"))["spent"]
    site_file(file.parent, f"{{epsilon: {cap}, patients: 40}}")
    assert not account(client(file, *PRIVATE, "--json"))["study"]["possible"]
    assert "The study cannot be trained here: what is left does not suffice" in client(file, *PRIVATE).words


def test_a_study_that_is_not_private_costs_nothing_that_could_be_told(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    said = client(file, *TINY)
    assert said.code == 2
    assert "privacy=patient_dp" in said.err


def test_a_site_without_a_budget_is_told_what_to_write(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site", privacy="")
    said = client(file)
    assert said.code == 2
    assert str(file) in said.err
    assert "epsilon: 8.0" in said.err
    assert not (file.parent / "privacy").exists()


@pytest.mark.parametrize("epsilon", ["0", "-1", ".inf", ".nan"])
def test_a_cap_that_is_none_is_refused(tmp_path: Path, client: Client, epsilon: str) -> None:
    said = client(site_file(tmp_path / "site", f"{{epsilon: {epsilon}, patients: 40}}"))
    assert said.code == 2
    assert "privacy.epsilon" in said.err


def test_places_in_the_site_file_count_from_its_folder(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site", "{epsilon: 8.0, patients: 40, folder: own, head: ../disk2/head.json}")
    told = account(client(file, "--json"))
    assert (tmp_path / "site" / "own" / "ledger.jsonl").samefile(told["ledger"])
    assert (tmp_path / "disk2" / "head.json").samefile(told["head"])


def test_nodes_that_share_a_folder_share_its_head_and_their_register(tmp_path: Path) -> None:
    own = "{epsilon: 8.0, patients: 40, folder: ../hospital/privacy, known: ../hospital/patients}"
    shared = [load_site(site_file(tmp_path / name, own)) for name in ("north", "south")]
    for site in shared:
        files = site.ledger_files()
        assert files.shared
        assert files.ledger.resolve() == tmp_path / "hospital" / "privacy" / "ledger.jsonl"
        assert files.head.resolve() == tmp_path / "hospital" / ".privacy-ledger-head.json"
        assert site.patient_register().resolve() == tmp_path / "hospital" / "patients"
    alone = load_site(site_file(tmp_path / "east"))
    assert not alone.ledger_files().shared
    assert alone.patient_register() == tmp_path / ".oncofed-patients"


def test_a_refused_ledger_is_reopened_with_nothing_left(tmp_path: Path, client: Client) -> None:
    file = site_file(tmp_path / "site")
    spend(file)
    files = load_site(file).ledger_files()
    files.head.unlink()
    refused = client(file)
    assert refused.code == 1
    assert str(files.head) in refused.err
    assert "--reopen REASON" in refused.err
    said = client(file, "--json", "--reopen", "the disk failed")
    told = account(said)
    assert (told["left"], told["assumed"], told["mechanisms"]) == (0.0, 8.0, [])
    assert "privacy.epsilon" in said.err
    assert "the disk failed" in files.ledger.read_text()
    (kept,) = files.ledger.parent.glob("until-*/ledger.jsonl")
    assert "gan/cgan/generator" in kept.read_text()
    words = client(file).words
    assert "8 of it counts as spent because the ledger was begun anew" in words
    assert "all of it together holds at a delta of 2e-05" in words
    assert (told["delta"], told["delta_total"]) == (1e-5, pytest.approx(2e-5))
    files.ledger.unlink()
    assert account(client(file, "--json", "--reopen", "once more"))["delta_total"] == pytest.approx(3e-5)


@pytest.mark.parametrize("reason", ["a mistake", " "])
def test_a_sound_ledger_is_not_reopened(tmp_path: Path, client: Client, reason: str) -> None:
    file = site_file(tmp_path / "site")
    spend(file)
    before = load_site(file).ledger_files().ledger.read_bytes()
    said = client(file, "--reopen", reason)
    assert said.code == 2
    assert ("is sound" if reason.strip() else "needs a reason") in said.err
    assert load_site(file).ledger_files().ledger.read_bytes() == before


def test_the_way_out_is_on_the_page_that_the_error_names() -> None:
    (heading,) = re.findall(r"docs/privacy\.md, ([^)]+)\)", WAY_OUT)
    assert f"# {heading}\n" in PAGE.read_text()


def test_the_pages_settings_load_and_name_every_key(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "site.yaml"
    file.write_text(f"name: hospital1\nreader: brats\norgan: brain\npath: data\n{example}")
    own = load_site(file).privacy
    assert own is not None
    named = yaml.safe_load(re.sub(r"(?m)^  # ", "  ", example))["privacy"]
    assert set(named) == set(type(own).model_fields)
    assert named["without"] == type(own).model_fields["without"].default


def test_the_pages_commands_are_understood(tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr("client.privacy.command.budget", lambda *given, **options: seen.append((given, options)))
    lines = [shlex.split(line, comments=True) for line in re.findall(r"oncofed-client budget .*", PAGE.read_text())]
    for words in lines:
        assert client(Path(words[2]), *words[3:]).code == 0
    assert len(seen) == len(lines) == 4
