"""What a study trains together, training by training: the report's curves and pictures, as far as they have come."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup

from common.errors import DamagedFileError
from common.figures.formatting import plural
from common.report.arms import arm_title
from common.report.page import render_part
from common.results.study import GanResult, Results
from common.study.phases import Phase, PhaseKind
from server.checkpoint import PhaseCheckpoints
from server.dashboard.part import Part
from server.dashboard.pictures import kept_galleries, live_galleries
from server.report.gallery import ReferenceGallery
from server.report.generators import GanPart, gan_part, scored_subjects
from server.round_record import RoundRecord, chosen_round
from server.scoring import subject_file

MOST = 24
"""Trainings on the page; a study with a cross-validation has hundreds."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of each file that a training is shown from."""


@dataclass
class Trainings:
    """The trainings of one run; each is rendered again when a file of it changes.

    Attributes:
        run_dir: of the study.
    """

    run_dir: Path
    _rendered: dict[str, tuple[object, Markup]] = field(default_factory=dict)

    def parts(self, planned: Mapping[str, int], results: Results | None) -> list[Part]:
        """A section for each training that has a round, the newest first.

        Args:
            planned: the phases of the study with their rounds, in order.
            results: of the run so far.
        """
        shown = self._begun(list(planned))[::-1][:MOST]
        return [
            Part(f"training-{phase.replace('/', '-')}", self._html(phase, planned.get(phase), results, newest=not i))
            for i, phase in enumerate(shown)
        ]

    def _begun(self, planned: Sequence[str]) -> list[str]:
        """Phases with rounds on disk in the order of the study; those that it did not plan come first."""
        checkpoints = self.run_dir / "checkpoints"
        found = [str(file.parent.relative_to(checkpoints)) for file in checkpoints.rglob("round-00001.json")]
        return sorted(found, key=lambda phase: (planned.index(phase) if phase in planned else -1, phase))

    def _html(self, phase: str, rounds: int | None, results: Results | None, *, newest: bool) -> Markup:
        kept = self.run_dir / "reference" / Phase.parse(phase).label
        able = _able(phase, results)
        known = (_stamp(PhaseCheckpoints(self.run_dir, phase).folder), _stamp(kept), rounds, able, newest)
        before, html = self._rendered.get(phase, (None, Markup()))
        if before != known:
            html = self._rendering(phase, kept, rounds, able, results, newest=newest)
            self._rendered[phase] = known, html
        return html

    def _rendering(
        self, phase: str, kept: Path, rounds: int | None, able: list[str], results: Results | None, *, newest: bool
    ) -> Markup:
        checkpoints = PhaseCheckpoints(self.run_dir, phase)
        try:
            records, ended = checkpoints.records(), checkpoints.result() is not None
        except (OSError, DamagedFileError):
            standing = "The record of a round cannot be read."
            gan = replace(_part(phase, [], able, None, []), exchange=standing)
            return _rendered(phase, gan, "not readable", newest=newest)
        subjects = {subject_file(subject): subject for record in records for subject in record.scores}
        galleries = kept_galleries(kept) or live_galleries(checkpoints.folder, subjects)
        gan = _part(phase, records, able, results, galleries)
        if gan.chosen and not ended:
            best = f"Of these rounds, {chosen_round(records)} would be chosen"
            gan = replace(gan, chosen=f"{best}: it is the best on the selection part of the reference set.")
        done = plural(len(records), "round")
        return _rendered(phase, gan, f"{len(records)} of {plural(rounds, 'round')}" if rounds else done, newest=newest)


def _rendered(phase: str, gan: GanPart, standing: str, *, newest: bool) -> Markup:
    number = zlib.crc32(phase.encode())
    given = {"gan": gan, "number": number, "standing": standing, "newest": newest}
    return render_part("server", "dashboard/training.html", **given)


def _able(phase: str, results: Results | None) -> list[str]:
    """The sites that could take part in the training of a GAN, as the plan says."""
    name = Phase.parse(phase).name
    return next((one.sites for one in (results.plan if results else []) if one.training == name), [])


def _part(
    phase: str,
    records: Sequence[RoundRecord],
    able: list[str],
    results: Results | None,
    galleries: Sequence[ReferenceGallery],
) -> GanPart:
    """What the report would show of these rounds."""
    parsed = Phase.parse(phase)
    protocols = [scores.protocol for record in records for scores in record.scores.values()]
    scored = parsed.kind == PhaseKind.GAN and bool(protocols)
    chosen = chosen_round(records) if scored else None
    gan = GanResult(
        family="",
        exchange="",
        protocol=protocols[0] if scored else "",
        sites=able,
        chosen_round=chosen,
        rounds=list(records),
    )
    made = gan_part(parsed.label, gan, results.sites if results and able else {}, galleries)
    told = "" if made.losses else "Sites tell no losses of it, as of every private training."
    return replace(
        made,
        title=made.title if scored else _title(parsed),
        exchange=told if records else "",
        chosen=made.chosen if scored else "",
        remarks=made.remarks if scored_subjects(gan) else (),
    )


def _title(phase: Phase) -> str:
    """Of a training whose rounds have no scores."""
    if phase.kind == PhaseKind.CLASSIFIER:
        return f"Classifier, {', '.join(filter(None, (arm_title(phase.name), phase.of)))}"
    return f"GAN {phase.label}" if phase.kind == PhaseKind.GAN else str(phase)


def _stamp(folder: Path) -> Stamp:
    """Nothing of a folder that is not there; a file that goes at this moment is left out."""
    found = []
    for file in sorted(folder.glob("*.json")) + sorted(folder.glob("*.npz")):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        found.append((file.name, status.st_mtime_ns, status.st_size))
    return tuple(found)
