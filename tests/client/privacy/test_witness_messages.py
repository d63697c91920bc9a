"""The same between a coordinator and a site's app: what is given, what is written down, and what a hello does."""

import json
from pathlib import Path

import pytest
import torch
from flwr.app import RecordDict
from hospital import Hospital
from tiny import TINY

from client.privacy.budget import Budget
from client.privacy.ledger import LedgerError
from common.protocol.actions import Action
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    Instruction,
    SiteHello,
    from_arrays,
    instruction_record,
    read_result,
    to_arrays,
)
from common.results.privacy import PrivacyStatement
from common.study.config import compose, to_yaml
from common.training.build import build_gan_trainer

STUDY = compose([*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2"])
TEXT = to_yaml(STUDY, leaving=True)
REASON = "trains nothing: its privacy ledger cannot be relied on; the hospital must look at it"


def hello(site: Hospital, witness: str = "") -> SiteHello:
    return read_result(site.ask(Action.HELLO, experiment=TEXT, witness=witness).content, SiteHello)


def test_a_private_training_and_its_statement_leave_witnesses(tmp_path: Path) -> None:
    site = Hospital(tmp_path, privacy={"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}})
    files = site.settings.ledger_files()
    assert "gan/cgan" in hello(site).tasks
    older = files.ledger.read_bytes(), files.head.read_bytes()
    instruction = {"experiment": TEXT, "phase": "gan/cgan", "model": "cgan", "server-round": 1}
    trainer = build_gan_trainer(STUDY, "cgan", device=torch.device("cpu"), weights=STUDY.weights)
    content = RecordDict({CONFIG: instruction_record(Instruction(run="demo", **instruction))})
    content[ARRAYS] = to_arrays(trainer.shared_arrays())
    reply = site.ask(Action.TRAIN_GAN, content)
    assert from_arrays(reply.content.array_records[ARRAYS])
    assert (site.settings.patient_register() / "patients.json").exists()
    statement = read_result(site.ask(Action.PRIVACY, experiment=TEXT, phase="privacy").content, PrivacyStatement)
    assert statement.witness is not None
    assert statement.witness.count == 2
    answered = [entry for entry in site.entries() if entry["event"] == "answered"]
    told = [entry.get("ledger") for entry in answered]
    assert told[0] is None
    assert (
        told[1]
        == told[2]
        == {
            "ledger": Budget(site.settings).ledger.id,
            "node": statement.witness.node,
            "count": 2,
            "hash": statement.witness.hash,
        }
    )
    kept = json.loads((site.settings.run_folder("demo") / "results" / "privacy.json").read_text())
    assert kept["ledger"] == told[1]

    witness = statement.witness.model_dump_json()
    assert "gan/cgan" in hello(site, witness).tasks
    files.ledger.write_bytes(older[0])
    files.head.write_bytes(older[1])
    assert "gan/cgan" in hello(site).tasks
    forged = statement.witness.model_copy(update={"mac": "0" * 64}).model_dump_json()
    assert "gan/cgan" in hello(site, forged).tasks
    said = hello(site, witness)
    assert said.tasks == ["evaluate"]
    assert REASON in said.notes
    # From now on without the coordinator too; and what leaves names nothing of the ledger.
    assert hello(site).tasks == ["evaluate"]
    refused = site.ask(Action.TRAIN_GAN, content)
    assert refused.error.reason == (
        "hospital1: no privacy guarantee can be given for this training; its own log says why"
    )
    with pytest.raises(LedgerError):
        Budget(site.settings)


def test_a_site_without_a_budget_passes_over_what_is_brought(tmp_path: Path) -> None:
    site = Hospital(tmp_path)
    plain = to_yaml(compose([*TINY]), leaving=True)
    reply = site.ask(Action.HELLO, experiment=plain, witness="nothing at all")
    assert "gan/cgan" in read_result(reply.content, SiteHello).tasks
    assert not (site.settings.folder / "privacy").exists()
