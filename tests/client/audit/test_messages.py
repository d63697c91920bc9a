"""Every message a site gets is written down before it is acted on, and its answer before it leaves."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from flwr.app import ConfigRecord, RecordDict
from hospital import STUDY, Hospital

from client.audit.hash_chain import parse_chain
from client.audit.log import AuditLog
from client.cli import main
from client.site import load_site
from common.errors import ConfigError
from common.protocol.actions import Action
from common.protocol.records import CONFIG


def test_what_was_asked_and_what_left_is_written_down(tmp_path: Path) -> None:
    site = Hospital(tmp_path)
    reply = site.ask(Action.HELLO)
    asked, answered = site.entries()
    expected = {"event": "asked", "action": "query.hello", "run": "demo", "phase": "hello", "round": 0, "flower_run": 1}
    assert {key: asked[key] for key in expected} == expected
    assert answered["event"] == "answered"
    assert answered["message"] == asked["message"]
    assert answered["sent"] == {CONFIG: reply.content[CONFIG].count_bytes()}
    text = site.settings.audit_files().log.read_text()
    assert "case-1-" not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("action", "given", "event", "reason"),
    [
        (Action.SITE_MODEL, {"phase": "cross_site/hospital1"}, "refused", "it does not share its own model"),
        (Action.HELLO, {"experiment": "colour: red"}, "refused", "does not fit this release"),
        (Action.TRAIN_GAN, {"phase": "gan/cgan", "model": "cgan"}, "refused", "array"),
        (Action.HELLO, {"content": RecordDict({})}, "refused", "holds no instruction"),
        (Action.HELLO, {"content": RecordDict({CONFIG: ConfigRecord({"run": 1})})}, "refused", "malformed"),
    ],
)
def test_what_was_refused_is_written_down_with_the_reason_that_left(
    tmp_path: Path, action: str, given: Mapping[str, Any], event: str, reason: str
) -> None:
    site = Hospital(tmp_path)
    reply = site.ask(action, **given)
    asked, answer = site.entries()
    assert (asked["event"], asked["action"], answer["event"]) == ("asked", action, event)
    assert reason in answer["reason"]
    assert reply.error.reason == f"hospital1: {answer['reason']}"


def test_what_failed_is_written_down_without_what_must_stay(tmp_path: Path) -> None:
    site = Hospital(tmp_path)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert site.ask(Action.HELLO).has_error()
    answer = site.entries()[-1]
    expected = ("failed", "its data cannot be used; its own log says why", "DataError")
    assert (answer["event"], answer["reason"], answer["cause"]) == expected


def test_a_log_that_cannot_be_written_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Hospital(tmp_path)
    site.ask(Action.HELLO)
    real = os.write
    monkeypatch.setattr("client.audit.hash_chain.os.write", lambda descriptor, data: real(descriptor, data[:10]))
    opened: list[str] = []
    monkeypatch.setattr("client.data.open_studies.OpenStudies.open", lambda *_: opened.append("opened"))
    reply = site.ask(Action.HELLO)
    assert reply.has_error()
    assert reply.error.reason == "hospital1: it cannot write down what it answers; its own log says why"
    assert opened == []
    monkeypatch.undo()
    assert len(site.entries()) == 2


def test_an_answer_that_cannot_be_written_down_does_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Hospital(tmp_path)
    real = AuditLog.write

    def full(self: AuditLog, event: str, **fields: Any) -> None:
        if event == "answered":
            monkeypatch.setattr("client.audit.hash_chain.os.write", lambda descriptor, data: 0)
        real(self, event, **fields)

    monkeypatch.setattr(AuditLog, "write", full)
    reply = site.ask(Action.HELLO)
    assert reply.has_error()
    monkeypatch.undo()
    assert [entry["event"] for entry in site.entries()] == ["asked"]


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    said = capsys.readouterr()
    return int(exit_.value.code or 0), said.out, said.err


def test_the_command_shows_each_message_and_names_a_changed_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Hospital(tmp_path)
    site.ask(Action.HELLO)
    site.ask(Action.SITE_MODEL, phase="cross_site/hospital1")
    AuditLog(site.settings.audit_files()).write("asked", action="train.gan\x1b[2J", message="7")
    code, out, _ = command(capsys, "audit", str(site.file))
    first, second, third, *_ = out.splitlines()
    assert code == 0
    assert "query.hello (phase hello, round 0, run demo) from run 1: answered, sent config (" in first
    assert "query.site_model" in second
    assert second.endswith(": refused: it does not share its own model")
    assert '"train.gan [2J" from run' in third
    assert third.endswith("not answered, or not yet")
    assert "The chain is whole" in out
    log = site.settings.audit_files().log
    log.write_text(log.read_text().replace('"phase": "hello"', '"phase": "hallo"'))
    code, out, err = command(capsys, "audit", str(site.file))
    assert code == 1
    assert "line 1 was changed" in err
    assert "query" not in out


def test_the_command_leaves_out_what_is_older(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Hospital(tmp_path)
    site.ask(Action.HELLO)
    for since, number in (("2001-01-01", 2), ("2999-01-01T00:00+02:00", 0)):
        code, out, _ = command(capsys, "audit", str(site.file), "--json", "--since", since)
        account = json.loads(out)
        assert (code, account["sound"], len(account["entries"])) == (0, True, number)
    code, _, err = command(capsys, "audit", str(site.file), "--since", "yesterday")
    assert code == 2
    assert "2030-01-31" in err


def test_an_action_that_is_not_on_the_hospitals_list_never_begins(tmp_path: Path) -> None:
    site = Hospital(tmp_path, allowed_actions=["query.hello", "train.gan"])
    hello = json.loads(str(site.ask(Action.HELLO).content[CONFIG]["result"]))
    assert hello["tasks"] == ["gan/cgan", "gan/wgan_gp"]
    assert "classifier: takes no part, its hospital does not allow this action" in hello["notes"]
    reply = site.ask(Action.ARMS, phase="arms")
    assert reply.error.reason == "hospital1: its hospital does not allow this action"
    assert site.entries()[-1]["event"] == "refused"


def test_a_model_that_is_not_on_the_hospitals_list_is_refused_under_any_name(tmp_path: Path) -> None:
    site = Hospital(tmp_path, allowed_models=["cgan"])
    hello = json.loads(str(site.ask(Action.HELLO).content[CONFIG]["result"]))
    assert "gan/cgan" in hello["tasks"]
    assert "gan/wgan_gp" not in hello["tasks"]
    assert "wgan_gp: takes no part, its hospital does not allow this model" in hello["notes"]
    study = yaml.safe_load(STUDY)
    study["models"] = {"cgan": study["models"]["wgan_gp"], "wgan_gp": study["models"]["cgan"]}
    renamed = yaml.safe_dump(study)
    for given in ({"model": "wgan_gp"}, {"model": "cgan", "experiment": renamed, "run": "other"}, {"model": "other"}):
        reply = site.ask(Action.TRAIN_GAN, phase="gan/cgan", **given)
        assert reply.has_error()
        assert "its hospital does not allow this model" in str(reply.error.reason), given


def test_a_list_with_a_slip_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    for actions, said in (("[query.hello, train.gam]", "train.gam"), ("[train.gan]", "add query.hello")):
        file.write_text(f"name: a\nreader: brats\norgan: brain\npath: .\nallowed_actions: {actions}\n")
        with pytest.raises(ConfigError, match=said):
            load_site(file)


def test_the_log_is_a_chain_that_any_program_can_check(tmp_path: Path) -> None:
    site = Hospital(tmp_path)
    site.ask(Action.HELLO)
    chain, torn = parse_chain(site.settings.audit_files().log.read_bytes())
    assert (chain.count, torn) == (2, False)
