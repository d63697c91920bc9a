"""What a site, or anyone, chose to write, by every way in and out: it stays one short line, and says whose it is."""

import csv
import io
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from flwr.app import Error, RecordDict
from outside_texts import OUTSIDE, formulae, odd_characters
from pydantic import ValidationError
from rich.console import Console
from scripted_grid import SITES, Outcome, ScriptedGrid, reply
from torch import Tensor

from common.errors import OncofedError, StudyError
from common.protocol.actions import FAILED, NOT_NOW, Action
from common.protocol.records import CONFIG, Instruction, SiteHello, reply_record
from common.results.privacy import PrivacyStatement
from common.results.study import Results, RunInfo
from common.study.config import compose
from common.study.experiment import StrategyConfig
from common.study.progress import StudyProgress
from common.system.command import run_command
from common.system.logs import open_json_log
from common.training.build import labelling_model
from server.aggregators.fedavg import FedAvg
from server.app import _announce, _entries
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.operation.progress_state import progress_state
from server.operation.status import StudyStatus, _lines
from server.operation.studies import StartedStudy
from server.operation.study_files import Patience
from server.plan import planned_trainings
from server.progress_log import ProgressLog, ProgressReader
from server.report.build import build_study_report
from server.returning import ReturningGrid
from server.roster import Roster, call_roll
from server.rounds import FederatedTraining
from server.settings import StudySettings
from server.silences import note_silences, silences
from server.terminal_progress import LiveProgress, PlainProgress

HOSTILE = "hospital3"
EXPERIMENT = compose(["site=none", "preset=demo"])
LINE = 4000
"""Characters of a line that is told, at most."""


def hello(name: str, more: dict[str, object]) -> dict[str, object]:
    values: dict[str, object] = {
        "site": name,
        "organ": "brain",
        "modality": "MR",
        "contrasts": ["t1"],
        "roles": ["train", "evaluate"],
        "tasks": ["gan/a", "classifier", "evaluate"],
    }
    return SiteHello.model_validate(values).model_dump() | more


def introduced(**more: object) -> Callable[[str, Instruction], RecordDict]:
    """A site that says more of itself at hello; the coordinator alone checks it."""

    def say(site: str, instruction: Instruction) -> RecordDict:
        record = reply_record(instruction, site)
        record["result"] = json.dumps(hello(site, more))
        return RecordDict({CONFIG: record})

    return say


Answer = Callable[[str, Instruction], Outcome]


def failing(text: str) -> tuple[Answer, Answer]:
    return introduced(), lambda site, instruction: Error(FAILED, text)


def failing_as_itself(text: str) -> tuple[Answer, Answer]:
    return introduced(), lambda site, instruction: Error(FAILED, f"{site}: {text}")


def not_now(text: str) -> tuple[Answer, Answer]:
    return introduced(), lambda site, instruction: Error(NOT_NOW, text)


def noting(text: str) -> tuple[Answer, Answer]:
    return introduced(notes=[text]), lambda site, instruction: Error(FAILED, "no")


def with_contrast(text: str) -> tuple[Answer, Answer]:
    return introduced(contrasts=[text]), lambda site, instruction: Error(FAILED, "no")


def with_organ(text: str) -> tuple[Answer, Answer]:
    return introduced(organ=text), lambda site, instruction: Error(FAILED, "no")


def with_task(text: str) -> tuple[Answer, Answer]:
    return introduced(tasks=[text, "gan/a"]), lambda site, instruction: Error(FAILED, "no")


def with_role(text: str) -> tuple[Answer, Answer]:
    return introduced(roles=[text, "train"]), lambda site, instruction: Error(FAILED, "no")


def calling_itself(text: str) -> tuple[Answer, Answer]:
    return introduced(site=text), lambda site, instruction: Error(FAILED, "no")


def refusing_hello(text: str) -> tuple[Answer, Answer]:
    return lambda site, instruction: Error(FAILED, text), lambda site, instruction: None


WAYS_IN: dict[str, Callable[[str], tuple[Answer, Answer]]] = {
    "the reason of an error": failing,
    "the reason of an error behind its own name": failing_as_itself,
    "the reason why it would answer later": not_now,
    "a note at hello": noting,
    "a contrast at hello": with_contrast,
    "its organ": with_organ,
    "a task": with_task,
    "a role": with_role,
    "its name": calling_itself,
    "the reason of an error at hello": refusing_hello,
}


class Network(ReturningGrid):
    """Three sites of which one is hostile, by the names that they are registered under."""

    def __init__(self, say_hello: Answer, train: Answer) -> None:
        def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
            if instruction.phase == "hello":
                return (say_hello if site == HOSTILE else introduced())(site, instruction)
            return train(site, instruction) if site == HOSTILE else reply(site, instruction, arrays)

        super().__init__(ScriptedGrid(behave), again_after=60.0)


def studied(folder: Path, way_in: tuple[Answer, Answer]) -> str:
    """One round and what is kept of it; returns the error that ended it, or the empty text."""
    grid = Network(*way_in)
    progress = ProgressLog(folder)
    settings = StudySettings(
        experiment=EXPERIMENT,
        name="pilot",
        run_dir=folder,
        sites=3,
        reference={},
        cache_dir=folder,
        progress=progress,
        engine="flower",
    )
    config = StrategyConfig(quorum=1, deadline=0.05)
    with open_json_log(folder / "log.jsonl", "oncofed.server"):
        progress.write("began", flower_run="1")
        roster = call_roll(grid, run="pilot", experiment="", sites=3, config=config, progress=progress)
        results = Results(run=RunInfo(name="pilot", seed=1, engine="flower", started="2030-01-31T12:00:00+00:00"))
        results.sites = _entries(roster)
        note_silences(folder, "hello", roster.refused)
        results.plan = planned_trainings(EXPERIMENT, roster, labelling_model(EXPERIMENT))
        _announce(settings, roster, results.plan)
        trained = trained_once(grid, folder, roster, progress, quorum=1)
        note_silences(folder, "arms", refusals(trained.records))
        results.silent = silences(folder)
        (folder / "results.json").write_bytes(results.model_dump_json(by_alias=True, indent=1).encode())
        try:
            trained_once(Network(*way_in), folder / "again", roster, progress, quorum=3)
        except StudyError as error:
            progress.write("failed", reason=str(error))
            return str(error)
    return ""


def refusals(records: list[dict[str, object]]) -> dict[str, str]:
    return {one.site: one.reason for record in records for one in record.refused}  # type: ignore[attr-defined]


def trained_once(grid: ReturningGrid, folder: Path, roster: Roster, progress: StudyProgress, quorum: int):
    return FederatedTraining(
        grid=grid,
        action=Action.TRAIN_GAN,
        asked=Instruction(run="pilot", phase="gan/a"),
        config=StrategyConfig(quorum=quorum, deadline=0.05),
        members=list(roster.members),
        rounds=1,
        checkpoints=PhaseCheckpoints(folder, "gan/a"),
        progress=progress,
        exchange=Averaging(FedAvg()),
    ).train({"generator.w": torch.ones(3)})


def plainly(folder: Path) -> str:
    stream = io.StringIO()
    for event in ProgressReader(folder).new():
        PlainProgress(stream).take(event)
    return stream.getvalue()


def lively(folder: Path) -> str:
    """What stands on the terminal at each moment, without the codes that draw it."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200)
    progress = LiveProgress(console)
    seen = Console(file=io.StringIO(), force_terminal=False, width=200)
    try:
        # Drawn by hand here.
        progress._live.stop()
        progress._console = seen
        for event in ProgressReader(folder).new():
            progress.take(event)
            seen.print(progress._display())
    finally:
        progress.close()
    assert isinstance(seen.file, io.StringIO)
    return seen.file.getvalue()


def status(folder: Path) -> str:
    from datetime import UTC, datetime

    state = progress_state(ProgressReader(folder).new())
    one = StartedStudy(folder=folder, expected=SITES, flower_run="1", started=datetime.now(UTC))
    shown = [
        _lines(StudyStatus(one, running, state, {}, Patience(deadline=600.0)), {}, {}) for running in (True, False)
    ]
    return "\n".join(line for lines in shown for line in lines)


def assert_plain(text: str, longest: int = LINE) -> None:
    assert odd_characters(text) == set()
    assert max(map(len, text.split("\n"))) <= longest


def assert_nobody_else_speaks(text: str) -> None:
    """No line begins as a sentence of the program or of another site would, in the words of the hostile one.

    The live display goes on in the site's own column where a line is full.
    """
    for line in text.split("\n"):
        assert not re.match(r" {,4}(error:|hospital1: (refused|gone|back|all))", line)


@pytest.mark.parametrize("what", OUTSIDE)
@pytest.mark.parametrize("way", WAYS_IN)
def test_a_sites_text_stays_one_line_wherever_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str, what: str
) -> None:
    error = studied(tmp_path, WAYS_IN[way](OUTSIDE[what]))
    assert "3 are needed" in error
    for told in (plainly(tmp_path), lively(tmp_path), status(tmp_path)):
        assert_plain(told)
        assert_nobody_else_speaks(told)
    log = (tmp_path / "log.jsonl").read_bytes()
    assert log.isascii()
    assert_plain(log.decode(), 10 * LINE)
    for line in log.splitlines():
        json.loads(line)
    assert odd_characters((tmp_path / "results.json").read_text(encoding="utf-8")) == set()
    assert run_command(lambda: raised(StudyError(error))) == StudyError.exit_code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert_plain(said)


def raised(error: OncofedError) -> None:
    raise error


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_site_that_failed_has_failed_whatever_it_says(tmp_path: Path, what: str) -> None:
    studied(tmp_path, failing(OUTSIDE[what]))
    state = progress_state(ProgressReader(tmp_path).new())
    assert HOSTILE not in state.asked
    assert HOSTILE in state.notes


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_site_that_would_later_is_waited_for_whatever_it_says(tmp_path: Path, what: str) -> None:
    def asked(events: list) -> bool:
        return HOSTILE in progress_state(events).asked

    studied(tmp_path, not_now(OUTSIDE[what]))
    events = list(ProgressReader(tmp_path).new())
    delays = [number for number, event in enumerate(events) if str(event.values.get("doing")).endswith("waited for")]
    assert delays
    assert all(asked(events[: number + 1]) for number in delays)


@pytest.mark.parametrize("what", OUTSIDE)
def test_tables_and_pages_of_a_study(tmp_path: Path, what: str) -> None:
    """Whatever reached the results, by whichever release."""
    text = OUTSIDE[what].encode("utf-8", "replace").decode()
    studied(tmp_path, failing("no"))
    results = Results.model_validate_json((tmp_path / "results.json").read_bytes())
    for entry in results.sites.values():
        entry.contrasts, entry.roles, entry.notes, entry.organ = [text, "t1"], ["train", text], [text], text
    results.silent = {text: {HOSTILE: text}}
    results.not_compared = {text: text}
    results.run.versions = {text: text}
    results.run.config = {"name": text, text: [text]}
    (tmp_path / "results.json").write_bytes(results.model_dump_json(by_alias=True).encode())
    page = build_study_report(tmp_path)
    html = page.read_bytes().decode()
    assert odd_characters(html, also="\n\t") == set()
    ours = f"<script>{files('server.report').joinpath('study.js').read_text()}</script>"
    assert html.count(ours) == 1
    for tag in ("<script", "<base", "<form", 'onload="', "<svg onload"):
        assert tag not in html.replace(ours, "")
    for file in page.parent.glob("*.csv"):
        content = file.read_bytes().decode()
        assert odd_characters(content) == set()
        assert formulae(list(csv.reader(io.StringIO(content)))) == []


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_a_site_states_of_its_privacy_holds_names_and_nothing_else(what: str) -> None:
    text = OUTSIDE[what]
    figures = {"delta": 1e-5, "patients": 100, "max_grad_norm": 1.0, "epsilon": 1.0, "epsilon_rdp": 1.0}
    spent = {"sigma": 1.0, "q": 0.1, "steps": 1, "epsilon": 1.0}
    for stated in ({"mechanisms": [], "models": {text: 1.0}}, {"mechanisms": [{"mechanism": text, **spent}]}):
        if re.fullmatch(r"[a-z]+", text) and len(text) < 60:
            PrivacyStatement.model_validate({**figures, **stated})
        else:
            with pytest.raises(ValidationError):
                PrivacyStatement.model_validate({**figures, **stated})
