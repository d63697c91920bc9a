"""Who was asked and gave no answer that could be used: kept by phase, for the report. Rounds keep their own account."""

from collections.abc import Mapping
from pathlib import Path

from common.system.files import read_table, write_json

FILE = Path("checkpoints", "silences.json")


def way_out(section: str) -> str:
    """What to do where too few sites did their part. Nothing is decided by what sites say of the cause.

    Args:
        section: of the configuration, whose learning rate they trained with.
    """
    return (
        "Repair those sites and resume the run. Where the study itself is the cause, as a learning rate that is too "
        f"high, a resumed run keeps it: start a new run, e.g. with a lower {section}.learning_rate"
    )


def note_silences(run_dir: Path, phase: str, reasons: Mapping[str, str]) -> None:
    """Keeps the reason by site for those that a phase went on without; a phase that is repeated replaces its own."""
    known = silences(run_dir)
    kept = {name: sites for name, sites in known.items() if name != phase} | ({phase: dict(reasons)} if reasons else {})
    if kept != known:
        write_json(run_dir / FILE, kept)


def silences(run_dir: Path) -> dict[str, dict[str, str]]:
    """Reason by site, by phase."""
    file = run_dir / FILE
    return read_table(file) if file.exists() else {}
