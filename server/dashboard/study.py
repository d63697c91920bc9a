"""A study's sections on the page, from what its coordinator keeps: progress, records of rounds, results, pictures."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from common.errors import DamagedFileError
from common.figures.formatting import MISSING, role_titles
from common.report.page import ReportError, render_part
from common.report.tables import Cell, Table, prose, word
from common.results.study import Results, SiteEntry
from server.dashboard.part import Part
from server.dashboard.trainings import Trainings
from server.operation.progress_state import ProgressState
from server.progress_log import ProgressReader
from server.report.build import read_results
from server.report.participation import silent_sites
from server.run_lock import is_running
from server.schedule import duration
from server.silences import silences

GRACE = 5.0
"""Seconds between two processes of a study, or before it says how it ended, in which it counts as running."""

TONES = {"running": "good", "finished": "good", "stopped": "bad"}


class StudyView:
    """The page of one run, which may begin later, be resumed, or make way for another one under the same name.

    Args:
        run: its folder, or a link to it such as ``runs/latest``; followed anew each time.
        clock: tells seconds, for tests.
    """

    def __init__(self, run: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._begin(run)

    @property
    def name(self) -> str:
        """Of the run that is shown."""
        return self._folder.name

    def parts(self) -> list[Part]:
        """The sections as the study stands now."""
        folder = self._run.resolve()
        if folder != self._folder:
            self._begin(folder)
        if not folder.is_dir():
            return [_now("not there yet", "this page shows the study as soon as it begins")]
        for event in self._reader.new():
            # One that another release wrote may lack a value.
            with suppress(KeyError, TypeError, ValueError):
                self._state.take(event)
        results = self._read_results()
        state = self._state
        ended = state.ended == "finished" or (state.began is None and bool(results and results.run.finished))
        running = not ended and self._running()
        words = "finished" if ended else state.in_words(running=running)
        if state.began is None and not ended and not running:
            words = "not begun yet" if results is None else "stopped: it kept no progress; its rounds are below"
        reported = words == "finished" and (folder / "report" / "index.html").exists()
        parts = [_where(state, words, running=running, reported=reported)]
        if results is not None or state.began is not None:
            parts.append(Part("sites", self._sites(results, running=running)))
        phases = state.schedule.phases
        parts += self._trainings.parts(dict(phases), results)
        if phases:
            given = {"schedule": state.schedule, "ended": ended}
            parts.append(Part("phases", render_part("server", "dashboard/phases.html", **given)))
        return parts

    def _begin(self, folder: Path) -> None:
        self._folder = folder
        self._reader, self._state = ProgressReader(folder), ProgressState()
        self._trainings = Trainings(folder)
        self._seen = -GRACE
        self._results: tuple[tuple[int, int], Results | None] | None = None

    def _running(self) -> bool:
        with suppress(OSError):
            if is_running(self._folder):
                self._seen = self._clock()
        return self._clock() - self._seen < GRACE

    def _read_results(self) -> Results | None:
        """The results so far with who was silent since they were written; None before there are any to be read."""
        file = self._folder / "results.json"
        try:
            stamp = (file.stat().st_mtime_ns, file.stat().st_size)
            if self._results is None or self._results[0] != stamp:
                self._results = (stamp, None)
                self._results = (stamp, read_results(file))
        except (OSError, ReportError):
            return None
        results = self._results[1]
        with suppress(OSError, DamagedFileError):
            return results and results.model_copy(update={"silent": silences(self._folder)})
        return results

    def _sites(self, results: Results | None, *, running: bool) -> Markup:
        state, entries = self._state, results.sites if results else {}
        # Before its hello a site is known by the number of its node.
        unnamed = () if entries else (*state.asked, *state.answered, *state.notes)
        names = {*entries, *state.absent, *state.contributors, *unnamed}
        rows = [
            [
                word(site),
                _doing(state, site, running=running),
                word(_at(state.answered[site]) if site in state.answered else MISSING),
                word(_contributed(state, site, entries.get(site))),
                prose(f"{entries[site].organ}: {role_titles(entries[site].roles)}" if site in entries else MISSING),
            ]
            for site in sorted(names)
        ]
        columns = ["site", "now", "last answer", "in the newest round", "takes part in"]
        table = Table("Whom the study has heard of, and when.", columns, rows)
        silent = silent_sites(results) if results else []
        return render_part("server", "dashboard/sites.html", sites=table, silent=silent)


def _contributed(state: ProgressState, site: str, entry: SiteEntry | None) -> str:
    """Whether it did in the newest round; a dash before the first one, and of a site that only evaluates."""
    if site in state.contributors:
        return "yes"
    trains = entry is None or "train" in entry.roles
    return "no" if state.contributors and trains else MISSING


def _doing(state: ProgressState, site: str, *, running: bool) -> Cell:
    note = state.notes.get(site, "")
    if running and site in state.asked:
        return word(Markup("at work since {}{}").format(_at(state.asked[site]), f"; {note}" if note else ""))
    if running and site in state.absent:
        return word(Markup("not connected, waited for since {}").format(_at(state.absent[site])))
    return prose(note) if note else word(MISSING)


def _where(state: ProgressState, words: str, *, running: bool, reported: bool) -> Part:
    left = state.schedule.seconds_left() if running else None
    standing, _, rest = words.partition(": ")
    note = "The report of this run lies in its folder, under report." if reported else ""
    return _now(standing, rest, state=state, left=duration(left) if left else "", note=note)


def _now(standing: str, rest: str = "", *, state: ProgressState | None = None, left: str = "", note: str = "") -> Part:
    state = state or ProgressState()
    tone = next((tone for beginning, tone in TONES.items() if standing.startswith(beginning)), "")
    html = render_part(
        "server",
        "dashboard/now.html",
        standing=standing[:1].upper() + standing[1:],
        rest=rest,
        tone=tone,
        schedule=state.schedule,
        left=left,
        began=_at(state.began) if state.began else "",
        note=note,
    )
    return Part("now", html)


def _at(moment: datetime) -> Markup:
    """A time, to which the page's script adds how long ago that was."""
    utc = moment.astimezone(UTC)
    shown = f"{utc:%H:%M:%S} UTC" if utc.date() == datetime.now(UTC).date() else f"{utc:%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}" data-at="{}">{}</time>').format(utc.isoformat(), shown, shown)
