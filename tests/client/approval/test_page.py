"""The page on approval says what the code does."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from client import cli
from client.approval.comparison import COORDINATORS
from client.approval.node_arguments import node_arguments
from client.health.checks import site_checks

TEXT = (Path(__file__).parents[3] / "docs" / "approval.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_each_command_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    for name in ("_approve", "_audit", "_health"):
        monkeypatch.setattr(cli, name, seen.append)
    clients = [words[1:] for words in COMMANDS if words[0] == "oncofed-client"]
    for words in clients:
        with pytest.raises(SystemExit) as exit_:
            cli.main(words)
        assert exit_.value.code == 0, words
    assert len(seen) == len(clients) == 10
    (node,) = [words for words in COMMANDS if words[0] == "python"]
    assert node_arguments(Path(node[3]), node[4:])[:-1] == [*node[4:], "--node-config"]


def test_the_files_on_which_privacy_does_not_hang_are_named() -> None:
    (part,) = re.findall(r"come first: all but those of (.*?), the rooms", TEXT, re.DOTALL)
    assert tuple(re.findall(r"`([^`]+)`", part)) == COORDINATORS


def test_the_health_services_are_all_named() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(site_checks(Path(), lambda: None))
