"""A study that goes on as a test says: its progress, records of rounds and reference pictures, nothing trained."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fabricated_generators import paired
from markupsafe import Markup

from common.results.study import Results, RunInfo, SiteEntry
from common.study.progress import ANSWERED, ASKED
from common.system.array_files import write_arrays
from common.system.files import write_bytes, write_json
from server.progress_log import ProgressLog
from server.round_record import RoundRecord

SITES = ("hospital1", "hospital2")
LOSSES = {"generator": 0.5}


class LiveStudy:
    """A run's folder in the hands of a test.

    Args:
        folder: made when the study begins.
        rounds: of its one GAN, ``gan/cgan``.
    """

    def __init__(self, folder: Path, rounds: int = 4) -> None:
        self.folder, self.rounds = folder, rounds
        self.log = ProgressLog(folder)
        self._done = 0

    def begin(self) -> None:
        """Everybody has said hello, and the GAN's training begins."""
        self.log.write("began")
        self.log.plan([("gan/cgan", self.rounds), ("classifier/real", 2)])
        self.results()
        self.log.phase("gan/cgan", self.rounds)
        for site in SITES:
            self.log.site(site, ASKED)

    def results(self, finished: str | None = None) -> None:
        """Writes ``results.json``."""
        entry = SiteEntry(organ="brain", modality="mri", roles=["train", "evaluate"])
        run = RunInfo(name="live", seed=1, engine="in_process", started="2000-01-01T00:00:00+00:00", finished=finished)
        sites = dict.fromkeys(SITES, entry) | {"external": entry.model_copy(update={"roles": ["evaluate"]})}
        written = Results(run=run, sites=sites)
        write_bytes(self.folder / "results.json", written.model_dump_json(by_alias=True).encode())

    def round(self, losses: Mapping[str, float] = LOSSES, phase: str = "gan/cgan", number: int | None = None) -> None:
        """A round ends at all sites: of the GAN with a score and a picture, of a classifier without."""
        if number is None:
            self._done += 1
            number = self._done
        checkpoints, gan = self.folder / "checkpoints" / phase, phase.startswith("gan/")
        if gan:
            images = np.full((8, 16, 16), number / 10, np.float16)
            write_arrays(checkpoints / f"images-{number:05d}.npz", {"brain": images})
        record = RoundRecord(
            round=number,
            scores={"brain": paired(number)} if gan else {},
            contributors=list(SITES),
            losses=dict(losses),
            counted=dict.fromkeys(SITES, number),
            norms=[1.0, 1.0],
            choice=number / 10 if gan else None,
            seconds=2.0,
        )
        write_json(checkpoints / f"round-{number:05d}.json", record.model_dump())
        for site in SITES:
            self.log.site(site, ANSWERED)
        self.log.advance(round=number, contributors=SITES, losses=losses, scores={}, seconds=2.0)

    def finish(self) -> None:
        """The study ends well."""
        self.log.write("finished")
        self.results("2000-01-01T01:00:00+00:00")


def words(html: str) -> str:
    """What is read of a piece of a page, on one line."""
    apart = re.sub(r"</(t[dh]|li|h\d|p)>", " ", str(html))
    return " ".join(Markup(apart).striptags().split())
