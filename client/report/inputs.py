"""What the client app leaves in ``results/`` for its site report, typed; every part may be missing.

A run that was interrupted, or a site that only evaluates, leaves some files out. Reading never fails for that: the
reason is kept beside the gap, so that the page can say it.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, TypeAdapter

from client.report.explanation_inputs import Explanations, nearest_figures, read_explanations
from common.figures.formatting import role_titles
from common.imaging.remarks import Kind
from common.placement import Placement
from common.results.classifier import ClassifierScores
from common.results.privacy import PrivacyStatement
from common.system.array_files import arrays_in

Part = TypeVar("Part")


class SiteRecord(BaseModel):
    """Base of the parts; a key that a newer client wrote and this page does not show is passed over."""

    model_config = ConfigDict(extra="ignore")


class PartCounts(SiteRecord):
    """A count for each part of the site's split."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None


class QuarantinedStudy(SiteRecord):
    """A study that was left out, and why; stays at the site."""

    patient: str
    reason: str


class UnusedPart(SiteRecord):
    """Something that was not taken up, or was read on a guess, in how many studies or files."""

    kind: Kind
    what: str
    count: int
    examples: list[str] = []


class Summary(SiteRecord):
    """``summary.json``: what this site is and what it was asked to do."""

    site: str
    organ: str
    modality: str = ""
    contrasts: list[str] = []
    run: str = ""
    patients: PartCounts = PartCounts()
    slices: PartCounts = PartCounts()
    tumour_slices: PartCounts = PartCounts()
    quarantine: list[QuarantinedStudy] = []
    unused: list[UnusedPart] = []
    roles: list[str] = []
    preprocessing: dict[str, Any] = {}
    declared: dict[str, Any] = {}
    config: dict[str, Any] = {}
    versions: dict[str, str] = {}
    demo_cohort: bool = False
    notes: list[str] = []


class TrainingRecord(SiteRecord):
    """One line of ``training.jsonl``: mean losses of one stretch of local training.

    ``phase`` is ``<group>/<name>``: ``gan/cgan``, ``classifier/real`` (in federation), ``arms/real`` (this site alone).
    """

    phase: str
    round: int | None = None
    losses: dict[str, float | None] = {}
    steps: int | None = None
    seconds: float | None = None


class PrivacyAccount(SiteRecord):
    """``privacy.json``: what this study cost, and how the hospital's budget stood at its end.

    Attributes:
        statement: what the coordinator was told.
        cap: of the budget.
        spent: of it, over all studies, as the gate counts (RDP); ``spent_prv`` by the tighter accountant.
    """

    statement: PrivacyStatement
    cap: float
    spent: float
    spent_prv: float


class Prediction(SiteRecord):
    """One line of ``predictions.csv``: one classifier on one test slice.

    ``scope`` is ``local`` or ``federated``; ``truth`` is 1 for tumour; ``probability`` is that of tumour.
    """

    arm: str
    scope: str
    patient: str
    slice: int
    truth: int
    probability: float

    @property
    def is_mistake(self) -> bool:
        """True if the call at probability 0.5 is not the truth."""
        return (self.probability >= 0.5) != bool(self.truth)


@dataclass
class SiteInputs:
    """Everything found; ``absent`` names each missing part with a sentence on why."""

    summary: Summary | None = None
    training: list[TrainingRecord] = field(default_factory=list)
    arms: dict[str, ClassifierScores] = field(default_factory=dict)
    federated_arms: dict[str, ClassifierScores] = field(default_factory=dict)
    cross_site: dict[str, ClassifierScores] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    gallery: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    places: dict[str, Placement] = field(default_factory=dict)
    steps: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    privacy: PrivacyAccount | None = None
    explanations: Explanations = field(default_factory=Explanations)
    absent: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """The site's ``results.json``: every figure on the page, pictures and single predictions left out."""
        return {
            "schema": "oncofed-site-results/3",
            "summary": self.summary.model_dump() if self.summary else None,
            "training": [record.model_dump() for record in self.training],
            "arms": {arm: scores.model_dump() for arm, scores in self.arms.items()},
            "federated_arms": {arm: scores.model_dump() for arm, scores in self.federated_arms.items()},
            "cross_site": {model: scores.model_dump() for model, scores in self.cross_site.items()},
            "places": {name: asdict(one) for name, one in self.places.items()},
            "privacy": self.privacy.model_dump() if self.privacy else None,
            "explanations": {arm: one.figures.model_dump() for arm, one in self.explanations.arms.items()},
            "nearest": nearest_figures(self.explanations.nearest),
        }


FILES = {
    "summary": "summary.json",
    "training": "training.jsonl",
    "arms": "arms.json",
    "federated_arms": "federated_arms.json",
    "cross_site": "cross_site.json",
    "predictions": "predictions.csv",
    "gallery": "gallery.npz",
    "places": "places.json",
    "steps": "steps.npz",
    "privacy": "privacy.json",
}
"""Part -> file in ``results/``."""


def read_inputs(folder: Path) -> SiteInputs:
    """Reads every part in ``folder`` that is there and sound.

    Args:
        folder: the site's ``results/``.
    """
    inputs = SiteInputs()

    def part(name: str, read: Callable[[bytes], Part], empty: Part) -> Part:
        path = folder / FILES[name]
        try:
            found = read(path.read_bytes())
        except FileNotFoundError:
            inputs.absent[name] = _why_missing(name, inputs.summary)
            return empty
        except Exception as error:  # whatever a damaged file makes its reader raise, the other parts can be shown
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            inputs.absent[name] = f"{FILES[name]} could not be read ({first})."
            return empty
        if not found:
            inputs.absent[name] = f"{FILES[name]} is empty: this step was started and left no result."
        return found

    inputs.summary = part("summary", lambda text: Summary.model_validate(_json(text)), None)
    inputs.training = part("training", _training, [])
    inputs.arms = part("arms", lambda text: _ARMS.validate_python(_json(text)), {})
    inputs.federated_arms = part("federated_arms", lambda text: _ARMS.validate_python(_json(text)), {})
    inputs.cross_site = part("cross_site", lambda text: _ARMS.validate_python(_json(text)), {})
    inputs.predictions = part("predictions", _predictions, [])
    inputs.gallery = part("gallery", _gallery, {})
    inputs.places = part("places", lambda text: _PLACES.validate_python(_json(text)), {})
    inputs.steps = part("steps", _steps, {})
    inputs.privacy = part("privacy", lambda text: PrivacyAccount.model_validate(_json(text)), None)
    inputs.explanations = read_explanations(folder)
    if not inputs.explanations:
        inputs.absent["explanations"] = _why_missing("explanations", inputs.summary)
    return inputs


_ARMS = TypeAdapter(dict[str, ClassifierScores])
_PLACES = TypeAdapter(dict[str, Placement])
_TRAINING_PARTS = ("training", "arms", "gallery", "places", "privacy", "explanations")


def _why_missing(name: str, summary: Summary | None) -> str:
    file = FILES.get(name, f"{name} folder")
    if summary is None and name != "summary":
        return f"There is no {file}, and no summary says how far this site had got."
    if name == "summary":
        return f"There is no {file}: the run ended before this site had prepared its data."
    assert summary is not None
    if summary.roles and "train" not in summary.roles and name in _TRAINING_PARTS:
        return f"There is no {file}: this site takes part in {role_titles(summary.roles)} and trains nothing."
    if summary.roles and "evaluate" not in summary.roles and name not in (*_TRAINING_PARTS, "steps"):
        return f"There is no {file}: this site takes part in {role_titles(summary.roles)} and evaluates nothing."
    if name == "privacy":
        return f"There is no {file}: the study trained without differential privacy, or had not got to its end."
    return f"There is no {file}: the run had not reached this step here, or did not ask for it."


def _json(text: bytes | str) -> Any:
    """JSON in which NaN and infinity, which other readers do not know, are figures that are not there."""
    return json.loads(text, parse_constant=lambda _: None)


def _training(text: bytes) -> list[TrainingRecord]:
    lines = [line for line in text.decode().splitlines() if line.strip()]
    records = []
    for index, line in enumerate(lines):
        try:
            records.append(TrainingRecord.model_validate(_json(line)))
        except json.JSONDecodeError:
            # A killed run may leave half a last line; the rest of the curve stands.
            if index < len(lines) - 1:
                raise
    return records


def _predictions(text: bytes) -> list[Prediction]:
    return [Prediction.model_validate(row) for row in csv.DictReader(io.StringIO(text.decode()))]


def _steps(content: bytes) -> dict[str, npt.NDArray[Any]]:
    arrays = arrays_in(content, Path(FILES["steps"]))
    return {key: arrays[key] for key in ("patient", "name", "does", "before", "after")}


def _gallery(content: bytes) -> dict[str, npt.NDArray[Any]]:
    arrays = arrays_in(content, Path(FILES["gallery"]))
    for key, array in arrays.items():
        if array.ndim != 3:
            raise ValueError(f"{key} has shape {array.shape}, expected (n, H, W)")
        labels = arrays.get(f"{key}_labels")
        if labels is not None and labels.shape != array.shape:
            raise ValueError(f"{key}_labels has shape {labels.shape}, expected {array.shape}")
    return {key: array for key, array in arrays.items() if len(array)}
