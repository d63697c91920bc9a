"""The folder of a run."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from common.errors import ConfigError
from common.protocol.records import Instruction
from common.study.config import compose
from common.system.command import run_command
from common.system.files import write_bytes, write_json
from server.operation.study_checks import checked
from server.progress_log import ProgressLog
from server.run_folder import RunFolder
from server.run_lock import alone_in


def test_a_taken_name_gets_a_number_and_latest_follows(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    first, second = RunFolder.new(experiment), RunFolder.new(experiment)
    assert (first.path.name, second.path.name) == ("study", "study-2")
    assert (tmp_path / "latest").resolve() == second.path
    assert RunFolder.resume(tmp_path / "latest", []).experiment == experiment


def test_a_study_that_could_not_start_leaves_nothing_and_latest_as_it_was(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    first = RunFolder.new(experiment)
    second = RunFolder.new(experiment)
    with pytest.raises(RuntimeError), second.withdrawn_on_error():
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "study"]
    assert (tmp_path / "latest").resolve() == first.path


def test_a_resumed_run_is_never_withdrawn(tmp_path: Path) -> None:
    first = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "name=study"]))
    with pytest.raises(RuntimeError), RunFolder.resume(first.path, []).withdrawn_on_error():
        raise RuntimeError
    assert first.path.is_dir()


def test_a_begun_run_cannot_be_changed(tmp_path: Path) -> None:
    first = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}"]))
    with pytest.raises(ConfigError, match="seed=2"):
        RunFolder.resume(first.path, ["seed=2"])


def test_a_run_and_what_lies_above_it_are_their_owners_alone(tmp_path: Path) -> None:
    """As a command makes them, and as the ServerApp makes the folder of a run that it is the first to write into."""
    before = os.umask(0o022)
    try:
        runs, others = tmp_path / "studies" / "runs", tmp_path / "others" / "runs" / "pilot"

        def command() -> None:
            made = RunFolder.new(compose([f"simulation.runs_dir={runs}", "name=study"]))
            write_json(made.path / "checkpoints" / "gan" / "result.json", {})
            write_bytes(made.path / "results.json", b"{}")
            write_bytes(made.path / "report" / "index.html", b"")
            ProgressLog(made.path).write("began")
            subprocess.run(["touch", made.path / "by-a-child"], check=True)
            with alone_in(made.path):
                pass

        assert run_command(command) == 0
        made = [runs.parent, runs, *(path for path in runs.rglob("*") if not path.is_symlink())]
        assert len(made) > 10
        assert {path.name: oct(path.stat().st_mode & 0o077) for path in made if path.stat().st_mode & 0o077} == {}
        ProgressLog(others).write("began")
        assert [path.stat().st_mode & 0o777 for path in (others, others.parent, others.parent.parent)] == [0o700] * 3
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["my study", "..", ".", "-x", "a/b", "latest", "a" * 91, "a" * 300, "é", "a\nb"])
def test_a_name_that_no_folder_or_message_can_have_is_refused_and_nothing_made(name: str, tmp_path: Path) -> None:
    experiment = replace(compose([f"simulation.runs_dir={tmp_path / 'runs'}"]), name=name)
    with pytest.raises(ConfigError, match=r"a run's name is that of a folder: 1 to 90 letters"):
        RunFolder.new(experiment)
    with pytest.raises(ConfigError, match=r"^name="):
        checked(experiment, {"hospital1": "brain"})
    assert not (tmp_path / "runs").exists()


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'^name="": a run'):
        RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "name=''"]))


def test_the_longest_name_leaves_room_for_its_number(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", f"name={'a' * 90}"])
    names = [RunFolder.new(experiment).path.name for _ in range(2)]
    assert names == ["a" * 90, "a" * 90 + "-2"]
    for name in names:
        Instruction(run=name, phase="hello", experiment="")


def test_a_folder_in_the_place_of_the_link_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(ConfigError, match=r"latest: must be the link to the newest run"):
        RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "name=study"]))
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_a_place_that_cannot_be_written_is_named_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^simulation\.runs_dir=.*file/runs: cannot be written \(Not a directory\)"):
        RunFolder.new(compose([f"simulation.runs_dir={tmp_path / 'file' / 'runs'}"]))


def test_runs_that_begin_together_have_folders_of_their_own(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    with ThreadPoolExecutor(8) as together:
        made = [one.path.name for one in together.map(lambda _: RunFolder.new(experiment), range(40))]
    assert sorted(made) == sorted(["study", *(f"study-{number}" for number in range(2, 41))])
    assert (tmp_path / "latest").readlink().name in made
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*made, "latest"])


def test_a_run_that_could_not_start_leaves_latest_to_one_that_began_since(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    first, second = RunFolder.new(experiment), RunFolder.new(experiment)
    with pytest.raises(RuntimeError), first.withdrawn_on_error():
        raise RuntimeError
    assert (tmp_path / "latest").resolve() == second.path
    with pytest.raises(RuntimeError), second.withdrawn_on_error():
        raise RuntimeError
    # What it pointed to before is gone too.
    assert list(tmp_path.iterdir()) == []


def edited(folder: Path, **changes: object) -> Path:
    """The run's configuration with other values, as somebody writes them into its file."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        entry = config
        for section in sections:
            entry = entry[section]
        entry[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("seed", 2, "seed: 1, now 2"),
        ("classifier__batch_size", 6, "classifier.batch_size: 16, now 6"),
        ("split__test", 5, "split.test: 20.0, now 5.0"),
        ("models__cgan__learning_rate", 0.5, "models.cgan.learning_rate: 0.0002, now 0.5"),
        ("site__hospital1__roles", ["evaluate"], r"site.hospital1.roles: \['train', 'evaluate'\], now \['evaluate'\]"),
        ("site__hospital1__options", {"label_4": "tumour"}, "site.hospital1.options"),
        ("study__arms", ["real"], "study.arms: "),
    ],
)
def test_a_run_whose_configuration_was_edited_is_refused_by_the_key(
    key: str, value: object, told: str, tmp_path: Path
) -> None:
    made = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "preset=demo", "site=brain"]))
    edited(made.path, **{key: value})
    with pytest.raises(ConfigError, match=f"config.yaml: a run goes on as it began.*{told}"):
        RunFolder.resume(made.path, [])


def test_an_entry_that_was_taken_out_or_put_in_is_a_change_too(tmp_path: Path) -> None:
    made = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "preset=demo", "site=brain"]))
    config = yaml.safe_load((made.path / "config.yaml").read_text())
    config["site"]["hospital9"] = config["site"].pop("hospital3")
    (made.path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"site\.hospital3\.\w+: .*, now None.*, and \d+ more"):
        RunFolder.resume(made.path, [])


def test_a_run_may_be_moved_to_another_machine(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "site=brain", f"site.hospital1.path={data}"]))
    edited(
        made.path,
        site__hospital1__path="/mnt/elsewhere",
        site__hospital1__device="cuda:1",
        evaluation__device="cuda",
        simulation__engine="ray",
        simulation__cache_dir="/tmp/cache",
    )
    assert RunFolder.resume(made.path, []).experiment.site["hospital1"].path == "/mnt/elsewhere"


def test_a_configuration_that_is_written_anew_with_the_same_values_is_the_same(tmp_path: Path) -> None:
    made = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "preset=demo", "site=brain"]))
    edited(made.path, seed=1)
    assert RunFolder.resume(made.path, []).experiment == made.experiment
