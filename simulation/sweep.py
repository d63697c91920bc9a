"""``oncofed-simulation sweep``: the same study over several values, as a table and one plot."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import DiskFullError, OncofedError, StudyError
from common.figures.formatting import listed
from common.results.study import Results
from common.system.command import say_traceback
from common.system.outside import printable, say
from server.run_folder import require_run_name
from server.run_lock import alone_in
from simulation.run import begun, resumed
from simulation.sweep_axes import PlannedRun, planned_runs, split_axes
from simulation.sweep_folder import claim, clear_unbegun
from simulation.sweep_table import Outcome, figures_of, versions_apart, write_tables


def sweep(overrides: Sequence[str], name: str) -> Path:
    """Runs every combination, or goes on where an earlier call stopped, and writes ``runs/<name>/``.

    The folder then holds a folder a run, ``001`` and so on, and what ``sweep.json`` says of each: its values and its
    overrides. ``sweep.csv`` has one line a run, also for one that failed; ``summary.csv`` mean and standard deviation
    over seeds; ``sweep.png`` shows them.

    Args:
        overrides: as for a run; a value with commas outside brackets is an axis. ``privacy.epsilon`` also takes
            ``none``: without differential privacy.
        name: of the sweep's folder; the same name with the same overrides goes on, and tries again what failed.

    Raises:
        ConfigError: if nothing varies, two runs would be the same study, a value is wrong, or the name belongs to
            another sweep. Nothing was started.
        StudyError: after all others have ended, if a run failed.
        DiskFullError: at once: the others would find no room either.
    """
    require_run_name(name, "--name ")
    fixed, axes = split_axes(overrides)
    runs, runs_dir = planned_runs(fixed, axes)
    folder = runs_dir / name
    claim(folder, overrides, runs)
    with alone_in(folder):
        outcomes: list[Outcome] = []
        for position, one in enumerate(runs, start=1):
            say(f"run {position} of {len(runs)}, {one.number}: {one.title}")
            outcomes.append(_outcome(folder, one))
            # After each run: a sweep that is stopped has shown what it found so far.
            write_tables(folder, [axis.shown for axis in axes], outcomes)
    say(f"table: {folder / 'summary.csv'}", f"plot: {folder / 'sweep.png'}")
    if apart := versions_apart(outcomes):
        say(f"not all runs were made with the same {listed(apart)}: that alone may make other figures; see sweep.csv")
    failed = [outcome for outcome in outcomes if outcome.failed]
    for outcome in failed:
        say(f"{outcome.number} ({outcome.title}) failed: {outcome.failed}")
    if failed:
        raise StudyError(
            f"{folder}: {len(failed)} of {len(runs)} runs failed ({', '.join(outcome.number for outcome in failed)}); "
            "sweep.csv says why, and the same command tries them again"
        )
    return folder


def _outcome(folder: Path, one: PlannedRun) -> Outcome:
    """What came of one run, which is done now, resumed, or there already."""
    try:
        results = _finished(folder / one.number, one)
    except DiskFullError:
        raise
    except OncofedError as error:
        say(f"failed: {error}")
        return Outcome(one.number, one.values, failed=printable(error, 2000))
    except Exception as error:
        say_traceback()
        return Outcome(one.number, one.values, failed=printable(f"unexpected: {type(error).__name__}: {error}", 2000))
    return Outcome(one.number, one.values, figures_of(results), versions=results.run.versions)


def _finished(target: Path, one: PlannedRun) -> Results:
    results = target / "results.json"
    if not (results.exists() and Results.model_validate_json(results.read_bytes()).run.finished):
        if (target / "config.yaml").exists():
            resumed(target, [])
        else:
            clear_unbegun(target)
            begun(one.placed(target))
    return Results.model_validate_json(results.read_bytes())
