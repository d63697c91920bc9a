"""``oncofed-client doctor`` from its options to the exit code."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from client.data.preparation import local_study
from client.doctor.examine import examine
from client.doctor.page import as_json, write_page
from client.doctor.summary import terminal_lines, verdict
from common.errors import DataError
from common.system.outside import say
from common.system.terminal import counted


def doctor(site: Path, overrides: Sequence[str], study: Path | None, out: Path | None, as_json_only: bool) -> None:
    """Examines a site, writes ``doctor/`` and tells what was found.

    Args:
        site: its ``site.yaml``.
        overrides, study: the study that it may join, as :func:`client.data.preparation.study_to_join` takes them.
        out: where the folder ``doctor`` goes; the site's own folder if None.
        as_json_only: standard output gets ``doctor.json`` and nothing else.

    Raises:
        ConfigError: if ``site.yaml`` or the configuration is wrong; nothing is written.
        DataError: if the site cannot take part; everything is written.
    """
    joined = local_study(site, overrides, study)
    folder = (out or joined.settings.folder) / "doctor"
    with counted("reading", "patients", sys.stderr if as_json_only else sys.stdout) as progress:
        examined = examine(joined, folder, site.parent, progress)
    found = examined.found
    page = write_page(examined, folder, asdict(joined.experiment))
    if as_json_only:
        sys.stdout.buffer.write(as_json(found))
        sys.stdout.flush()
    else:
        say(*terminal_lines(found))
        say(f"page: {page}")
    if not found.fit:
        reasons = "; ".join(found.problems) if as_json_only else f"The reasons are above and in {page}"
        raise DataError(f"{verdict(found)} {reasons}")
