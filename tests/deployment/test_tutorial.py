"""docs/tutorial.md, followed word for word: every line of its blocks in one shell, from an empty folder to a report."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_federation import need_nginx

pytestmark = [pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_from_an_empty_folder_to_a_report(tmp_path: Path) -> None:
    need_nginx()
    # Each block's seconds are printed, so that the page's promise can be looked at; nothing depends on them.
    steps = [f'echo "== step {number}: $SECONDS s"\n{block}' for number, block in enumerate(blocks(), start=1)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = tmp_path / "tutorial.sh"
    script.write_text("set -eu\n" + "\n".join(steps))
    folder = tmp_path / "empty"
    folder.mkdir()
    with (tmp_path / "said.txt").open("w") as output:
        shell = subprocess.Popen(
            ["bash", str(script)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(3000)
        finally:
            # What runs in the background is of the shell's own session, and ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    said = (tmp_path / "said.txt").read_text()
    print(said)
    assert code == 0, said[-5000:]
    assert "nothing is known that would not be measured" in said
    assert "hospital1 is fit to take part" in said
    assert (folder / "runs" / "pilot" / "report" / "index.html").exists()
    assert (folder / "hospital1" / "runs" / "pilot" / "report" / "index.html").exists()
    # What the plan promised: every site's scores, and those of all together.
    arms = json.loads((folder / "runs" / "pilot" / "results.json").read_text())["arms"]
    assert set(arms) == {"hospital1", "hospital2", "hospital3", "federated"}
    assert all(arm["accuracy"]["mean"] is not None for told in arms.values() for arm in told.values())
