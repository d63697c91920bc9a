"""docs/provisioning.md says what the commands do."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from client.cli import main as client_command
from server.cli import main as server_command
from server.provision.federation import Validity, load_federation

PAGE = (Path(__file__).parents[3] / "docs" / "provisioning.md").read_text()


def test_the_example_loads_and_shows_the_defaults(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "federation.yaml"
    file.write_text(example)
    settings = load_federation(file)
    assert settings.validity == Validity()
    assert len(settings.sites) == 2


def test_every_command_on_the_page_is_understood(monkeypatch):
    done = []
    for name in ("server.cli._provision", "server.cli._enrolments", "server.cli._serve_enrolment", "client.cli._init"):
        monkeypatch.setattr(name, lambda options: done.append(options))
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    for program, *words in lines:
        with pytest.raises(SystemExit) as exit_:
            {"oncofed-server": server_command, "oncofed-client": client_command}[program](words)
        assert exit_.value.code == 0, words
    assert len(done) == len(lines) == 6
    assert all(isinstance(options, argparse.Namespace) for options in done)
