"""A study that was stopped on purpose says so to whoever follows it, whichever process notices first."""

import contextlib
import io
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from enrolment_service import federation, free_port

from common.errors import StudyError
from server.operation.follow import follow_command
from server.operation.status import status_command
from server.operation.stop import stop_command
from server.operation.studies import keep_study, tell_stopping
from server.progress_log import ProgressLog, ProgressReader
from server.provision.provision import Places, provision
from server.run_lock import is_running

STUDY = """
import sys, time
from pathlib import Path
from server.progress_log import ProgressLog
from server.run_lock import alone_in

ProgressLog(Path(sys.argv[1])).write("began", flower_run="7")
with alone_in(Path(sys.argv[1])):
    time.sleep(600)
"""
"""A study's process, which is ended from outside and says nothing more."""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A running study of a federation, and its process."""
    settings = federation(443, serve={"superlink": free_port()})
    (tmp_path / "federation.yaml").write_text(settings.model_dump_json())
    provision(settings, Places(tmp_path / "provision"))
    run = tmp_path / "runs" / "pilot"
    run.mkdir(parents=True)
    keep_study(Places(tmp_path / "provision"), run, ("hospital1",), "7", datetime.now(UTC))
    monkeypatch.setattr("server.operation.stop.require_server", lambda home, file: None)
    process = subprocess.Popen([sys.executable, "-c", STUDY, str(run)])
    try:
        while not is_running(run):
            assert process.poll() is None
            time.sleep(0.05)
        yield run, process
    finally:
        process.kill()
        process.wait()


def places(run: Path) -> Places:
    return Places(run.parent.parent / "provision")


def followed(run: Path) -> str:
    """What whoever follows the study reads at its end."""
    with pytest.raises(StudyError) as error:
        follow_command(run.parent.parent / "federation.yaml", places(run), run)
    return str(error.value)


def status(run: Path) -> str:
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        status_command(run.parent.parent / "federation.yaml", places(run), as_json=True)
    return str(json.loads(told.getvalue())["studies"][-1]["where"])


def test_a_stop_is_told_although_flower_answers_late(study, monkeypatch: pytest.MonkeyPatch) -> None:
    run, process = study
    said = []

    def slowly(home: object, number: str) -> None:
        process.terminate()
        process.wait()
        # Its follower has long seen that the process is gone.
        said.append(followed(run))

    monkeypatch.setattr("server.operation.stop.stop", slowly)
    stop_command(run.parent.parent / "federation.yaml", places(run), run)
    assert said == [
        f"pilot: stopped with oncofed-server stop; go on with oncofed-server run "
        f"{run.parent.parent}/federation.yaml --resume {run}"
    ]
    assert followed(run) == said[0]
    assert status(run) == "stopped: stopped with oncofed-server stop"


def test_the_servers_end_is_told(study) -> None:
    run, process = study
    tell_stopping(places(run), "the server was stopped")
    assert status(run) == "running, but is being stopped: the server was stopped"
    process.terminate()
    process.wait()
    assert "pilot: the server was stopped; go on with" in followed(run)
    assert status(run) == "stopped: the server was stopped"


def test_a_study_that_is_resumed_has_forgotten_its_earlier_stop(study) -> None:
    run, process = study
    tell_stopping(places(run), "the server was stopped")
    process.kill()
    process.wait()
    ProgressLog(run).write("began", flower_run="8")
    assert "stopped without a word, killed perhaps" in followed(run)
    assert status(run) == "stopped without a word; it can be resumed"


def test_a_study_that_flower_does_not_stop_goes_on(study, monkeypatch: pytest.MonkeyPatch) -> None:
    run, process = study

    def refuse(home: object, number: str) -> None:
        raise StudyError("Flower does not stop the run")

    monkeypatch.setattr("server.operation.stop.stop", refuse)
    with pytest.raises(StudyError, match="Flower does not stop the run"):
        stop_command(run.parent.parent / "federation.yaml", places(run), run)
    assert status(run) == "running"
    process.kill()
    process.wait()
    assert "stopped without a word, killed perhaps" in followed(run)


def test_what_the_process_says_of_its_end_does_not_hide_why(study) -> None:
    run, process = study
    tell_stopping(places(run), "the server was stopped")
    ProgressLog(run).write("failed", reason="something unexpected (ConnectionError)")
    process.kill()
    process.wait()
    assert "pilot: the server was stopped" in followed(run)
    assert [event.name for event in ProgressReader(run).new()] == ["began", "stopping", "failed"]
