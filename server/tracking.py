"""The curves of a run as TensorBoard event files, written from the records of its rounds.

``<run>/tensorboard/`` holds a folder a phase (``gan/cgan``, ``classifier/real``), which TensorBoard shows as one run
each. The files are made anew from what is on disk whenever the study report is: a run that was resumed has each round
once, and nothing is written while it trains.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server.checkpoint import PhaseCheckpoints

FOLDER = "tensorboard"
"""Below the run's folder."""

_ROUNDS = "round-*.json"
_EVENTS = "events.out.tfevents.0"
"""TensorBoard's own name holds that of the machine; any with ``tfevents`` in it will do."""


def write_tracking(run_dir: Path) -> Path | None:
    """Writes losses, scores, norms and seconds of every finished round, phase by phase.

    Tags are ``loss/<name>``, ``score/<subject>/<figure>``, ``norm/<site>`` (of its update), ``choice`` (the figure that
    chooses the round) and ``seconds``; steps are rounds, and the time of a point is when its record was written. What
    is not there (losses of private training) or not finite is left out.

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


def points(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The tags of one round's record and their values.

    >>> dict(points({"round": 1, "losses": {"l1": 0.5}, "scores": {"brain": {"ssim": 0.9, "kind": "paired"}}}))
    {'loss/l1': 0.5, 'score/brain/ssim': 0.9}
    """
    yield from _figures("loss", record.get("losses", {}))
    yield from _figures("score", record.get("scores", {}))
    yield from _figures("norm", dict(zip(record.get("contributors", []), record.get("norms", []), strict=False)))
    yield from _figures("choice", record.get("choice"))
    yield from _figures("seconds", record.get("seconds"))


def _figures(tag: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every finite number below ``tag``, by its path."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _figures(f"{tag}/{name}", part)
    elif isinstance(value, (int, float)) and math.isfinite(value):
        yield tag, float(value)


def _write_phase(folder: Path, records: list[dict[str, Any]], times: list[float]) -> None:
    # Imported when there is something to write: it brings a good part of TensorBoard.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:  # type: ignore[no-untyped-call]
        for record, time in zip(records, times, strict=True):
            for tag, value in points(record):
                writer.add_scalar(tag, value, record["round"], walltime=time)  # type: ignore[no-untyped-call]
    (file,) = folder.glob("events.*")
    file.rename(folder / _EVENTS)
