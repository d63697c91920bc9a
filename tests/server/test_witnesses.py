"""What sites give the coordinator to keep of their ledgers: it lies beside the runs, and goes back to them alone."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import RecordDict
from scripted_grid import SITES, ScriptedGrid
from tiny import TINY
from torch import Tensor

from common.protocol.records import CONFIG, Instruction, SiteHello, reply_record
from common.results.privacy import LedgerWitness, PrivacyStatement
from common.study.config import compose
from common.study.progress import NoProgress
from server.privacy import WITNESSES, kept_witnesses, privacy_results
from server.roster import Member, Roster, call_roll
from server.settings import StudySettings

STUDY = compose([*TINY, "privacy=patient_dp"])


def hello_of(site: str) -> SiteHello:
    return SiteHello(site=site, organ="brain", modality="MR", contrasts=[], roles=["train"], tasks=[])


MEMBERS = tuple(Member(site, number, hello_of(site)) for number, site in enumerate(SITES))


def witness(count: int) -> LedgerWitness:
    return LedgerWitness(node="a" * 32, count=count, hash="b" * 64, mac="c" * 64)


class Sites(ScriptedGrid):
    """Registered by name; each says hello, and states that it has spent something."""

    def __init__(self, count: int = 3, silent: str = "") -> None:
        super().__init__(self.answer)
        self.count, self.silent = count, silent
        self.brought: dict[str, str] = {}

    def get_nodes(self) -> Iterable[Any]:
        return [SimpleNamespace(name=site, node_id=number) for number, site in enumerate(SITES)]

    def answer(self, site: str, instruction: Instruction, _: dict[str, Tensor]) -> RecordDict:
        if instruction.phase == "hello":
            self.brought[site] = instruction.witness
            return RecordDict({CONFIG: reply_record(instruction, site, hello_of(site))})
        assert instruction.witness == ""
        given = None if site == self.silent else witness(self.count)
        statement = PrivacyStatement(
            delta=1e-5, patients=9, max_grad_norm=1.0, mechanisms=[], epsilon=1.0, epsilon_rdp=1.1, witness=given
        )
        return RecordDict({CONFIG: reply_record(instruction, site, statement)})


def study(folder: Path, run: str, expected: tuple[str, ...] = SITES) -> StudySettings:
    return StudySettings(
        STUDY, run, folder / "runs" / run, 3, {}, folder, NoProgress(), "in_process", expected=expected
    )


def roll(sites: Sites, settings: StudySettings) -> Roster:
    return call_roll(
        sites,
        run=settings.name,
        experiment="",
        sites=3,
        expected=settings.expected,
        witnesses=kept_witnesses(settings),
        config=STUDY.strategy,
        progress=NoProgress(),
    )


def state(sites: Sites, settings: StudySettings) -> None:
    results = privacy_results(sites, settings, Roster(MEMBERS, {}), [])
    assert results is not None
    assert set(results.sites) == set(SITES)
    assert all(one.witness is None for one in results.sites.values()), "results are shown to others"


def test_a_later_study_brings_each_site_what_it_gave_and_nobody_elses(tmp_path: Path) -> None:
    sites = Sites()
    roll(sites, study(tmp_path, "spring"))
    assert set(sites.brought.values()) == {""}
    state(sites, study(tmp_path, "spring"))
    later = Sites(count=7, silent="hospital2")
    roll(later, study(tmp_path, "summer"))
    assert {site: LedgerWitness.model_validate_json(text) for site, text in later.brought.items()} == dict.fromkeys(
        SITES, witness(3)
    )
    assert max(map(len, later.brought.values())) <= 400
    state(later, study(tmp_path, "summer"))
    roll(later, study(tmp_path, "autumn"))
    counts = {site: LedgerWitness.model_validate_json(text).count for site, text in later.brought.items()}
    # A site that gave nothing new is brought what it gave before.
    assert counts == {"hospital1": 7, "hospital2": 3, "hospital3": 7}


def test_nothing_is_kept_or_sent_where_nodes_are_not_registered_by_name(tmp_path: Path) -> None:
    sites, settings = Sites(), study(tmp_path, "spring", expected=())
    state(sites, settings)
    assert not (tmp_path / "runs" / WITNESSES).exists()
    call_roll(
        sites,
        run="spring",
        experiment="",
        sites=3,
        witnesses={"node 0": witness(1).model_dump_json()},
        config=STUDY.strategy,
        progress=NoProgress(),
    )
    assert set(sites.brought.values()) == {""}


def test_a_copy_that_was_damaged_is_not_sent_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sites, settings = Sites(), study(tmp_path, "spring")
    state(sites, settings)
    (tmp_path / "runs" / WITNESSES / "hospital2.json").write_text("{")
    roll(sites, settings)
    assert sites.brought["hospital2"] == ""
    assert sites.brought["hospital1"]
    assert "a witness cannot be read" in caplog.text
