"""What ``oncofed-server status`` prints of sites and studies, without a server."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from enrolment_service import federation

from common.study.config import compose, to_yaml
from common.study.progress import ASKED
from server.operation.connections import SiteConnection
from server.operation.status import status_command
from server.operation.studies import keep_study
from server.progress_log import ProgressLog
from server.provision.provision import Places, provision
from server.run_lock import alone_in


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    made = Places(tmp_path / "provision")
    settings = federation(443)
    (tmp_path / "federation.yaml").write_text(json.dumps(settings.model_dump(mode="json")))
    provision(settings, made)
    with made.registry.edit() as registry:
        registry.sites["hospital1"].state = registry.sites["hospital2"].state = "enrolled"
    ago = datetime.now(UTC) - timedelta(minutes=4)
    there = {"hospital1": SiteConnection(True, ago), "hospital2": SiteConnection(False, ago)}
    monkeypatch.setattr("server.operation.status.answers", lambda home: True)
    monkeypatch.setattr("server.operation.status.connections", lambda home: there)
    return made


def begun(places: Places, run: Path) -> None:
    run.mkdir(parents=True)
    experiment = compose(["site=none", "preset=demo", "strategy.deadline=600"])
    (run / "config.yaml").write_text(to_yaml(experiment))
    log = ProgressLog(run)
    log.write("began", flower_run="7")
    log.plan([("gan/cgan", 6), ("arms", 1)])
    log.phase("gan/cgan", 6)
    log.advance(round=1, contributors=["hospital1", "hospital2"], losses={}, scores={}, seconds=60.0)
    log.site("hospital1", ASKED)
    log.site("hospital2", ASKED)
    log.site("hospital1", "answered")
    log.site("hospital2", "its node was lost; it is waited for", at_work=True)
    keep_study(places, run, ("hospital1", "hospital2"), "7", datetime.now(UTC))


def test_whom_a_study_waits_for_since_when_and_until_when(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "pilot"
    begun(places, run)
    with alone_in(run):
        status_command(tmp_path / "federation.yaml", places)
    said = capsys.readouterr().out
    assert re.search(r"hospital1  enrolled  connected for 4 min", said)
    assert re.search(r"hospital2  enrolled  not connected, last seen 4 min( \d+ s)? ago", said)
    assert "pilot  running" in said
    assert "gan/cgan: round 1 of 6 done; with hospital1, hospital2; about 6 min left" in said
    assert re.search(
        r"waiting for hospital2, last seen 4 min( \d+ s)? ago, its node was lost; it is waited for, "
        r"for 1\d min( \d+ s)? more at most \(strategy.returning\), deadline in (10 min|9 min \d+ s)",
        said,
    )
    assert "waiting for hospital1" not in said


def test_a_study_whose_process_is_gone_says_so(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(places, tmp_path / "runs" / "pilot")
    status_command(tmp_path / "federation.yaml", places)
    assert "pilot  stopped without a word; it can be resumed" in capsys.readouterr().out
    ProgressLog(tmp_path / "runs" / "pilot").write("failed", reason="1 of 2 sites replied")
    status_command(tmp_path / "federation.yaml", places, as_json=True)
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert study["where"] == "stopped: 1 of 2 sites replied"
    assert study["waiting_for"] == []
    assert (study["phase"], study["round"], study["rounds"]) == ("gan/cgan", 1, 6)
