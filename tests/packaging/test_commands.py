"""What images and services start is what the commands offer."""

import json
import re
from pathlib import Path

import pytest

from client.cli import main as client_command
from server.cli import main as server_command

PACKAGING = Path(__file__).parents[2] / "packaging"
COMMANDS = {"oncofed-client": client_command, "oncofed-server": server_command}


def started() -> list[list[str]]:
    """Program and options of every start and every question after health."""
    dockerfile = (PACKAGING / "Dockerfile").read_text()
    found = [json.loads(words) for words in re.findall(r'CMD (\["oncofed.*\])', dockerfile)]
    entries = re.findall(r"ENTRYPOINT (\[.*\])\nCMD (\[.*\])", dockerfile)
    found += [json.loads(program) + json.loads(options) for program, options in entries]
    for unit in sorted((PACKAGING / "systemd").glob("*.service")):
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        program, *options = line.split()
        found.append([Path(program).name, *options])
    return found


def test_images_and_units_start_and_ask_after_health() -> None:
    assert sorted((words[0], words[1]) for words in started()) == [
        ("oncofed-client", "health"),
        ("oncofed-client", "health"),
        ("oncofed-client", "start"),
        ("oncofed-client", "start"),
        ("oncofed-server", "health"),
        ("oncofed-server", "start"),
        ("oncofed-server", "start"),
    ]


@pytest.mark.parametrize("words", started(), ids=" ".join)
def test_each_is_understood_by_its_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program, *options = words
    with pytest.raises(SystemExit) as exit_:
        COMMANDS[program](options)
    said = capsys.readouterr()
    # The command line is right, and the file is not there.
    assert exit_.value.code == 2
    assert said.err.startswith(f"error: {options[1]}: ")
