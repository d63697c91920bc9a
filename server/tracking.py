"""The curves of a run as TensorBoard event files, written from the records of its rounds.

``<run>/tensorboard/`` holds a folder a phase (``gan/cgan``, ``classifier/real``), which TensorBoard shows as one run
each. The files are made anew from what is on disk whenever the study report is: a run that was resumed has each round
once, and nothing is written while it trains.
"""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from server.checkpoint import PhaseCheckpoints
from server.round_record import RoundRecord

FOLDER = "tensorboard"
"""Below the run's folder."""

_ROUNDS = "round-*.json"
_EVENTS = "events.out.tfevents.0"
"""TensorBoard's own name holds that of the machine; any with ``tfevents`` in it will do."""


def write_tracking(run_dir: Path) -> Path | None:
    """Writes losses, scores, norms and seconds of every finished round, phase by phase.

    Tags are ``loss/<name>``, ``score/<subject>/<figure>`` (its references below it), ``norm/<site>`` (of its update),
    ``choice`` (the figure that chooses the round) and ``seconds``; steps are rounds, and the time of a point is when
    its record was written. What is not there (losses of private training) or not finite is left out.

    Returns:
        The folder, or None if no round has been finished; event files of an earlier call are then gone, too.

    Raises:
        DamagedFileError: for a file that holds no record of its round; what was there before stays.
    """
    checkpoints = run_dir / "checkpoints"
    phases = sorted({file.parent.relative_to(checkpoints).as_posix() for file in checkpoints.rglob(_ROUNDS)})
    records = {phase: PhaseCheckpoints(run_dir, phase).records() for phase in phases}
    folder, partial = run_dir / FOLDER, run_dir / f".{FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for phase, its in records.items():
        times = [file.stat().st_mtime for file in sorted((checkpoints / phase).glob(_ROUNDS))]
        _write_phase(partial / phase, its, times)
    shutil.rmtree(folder, ignore_errors=True)
    if not records:
        return None
    partial.rename(folder)
    return folder


def points(record: RoundRecord) -> Iterator[tuple[str, float]]:
    """The tags of one round's record and their values.

    >>> from common.figures.figure import Figure, ImageScores
    >>> scores = {"brain": ImageScores(protocol="paired", figures=[Figure(metric="ssim", value=0.9)])}
    >>> kept = {"counted": {}, "norms": [2.0], "scores": scores, "losses": {"l1": 0.5}}
    >>> round_1 = RoundRecord(round=1, contributors=["a"], **kept)
    >>> dict(points(round_1))
    {'loss/l1': 0.5, 'score/brain/ssim': 0.9, 'norm/a': 2.0, 'seconds': 0.0}
    """
    found: list[tuple[str, float | None]] = [(f"loss/{name}", value) for name, value in record.losses.items()]
    for subject, scores in record.scores.items():
        for one in scores.figures:
            found.append((f"score/{subject}/{one.column}", one.value))
            found += [(f"score/{subject}/{one.column}/{name}", level) for name, level in one.references.items()]
    found += [(f"norm/{site}", norm) for site, norm in zip(record.contributors, record.norms, strict=False)]
    found += [("choice", record.choice), ("seconds", record.seconds)]
    yield from ((tag, value) for tag, value in found if value is not None and math.isfinite(value))


def _write_phase(folder: Path, records: list[RoundRecord], times: list[float]) -> None:
    # Imported when there is something to write: it brings a good part of TensorBoard.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:  # type: ignore[no-untyped-call]
        for record, time in zip(records, times, strict=True):
            for tag, value in points(record):
                writer.add_scalar(tag, value, record.round, walltime=time)  # type: ignore[no-untyped-call]
    (file,) = folder.glob("events.*")
    file.rename(folder / _EVENTS)
