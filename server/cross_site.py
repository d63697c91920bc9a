"""The cross-site matrices: every site's own classifiers and the federated ones, on every site's test patients."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.serverapp import Grid
from torch import Tensor

from common.figures.figure import REAL_ONLY, Figure, Key
from common.protocol.actions import Action
from common.protocol.records import UnacceptableError, received_arrays
from common.results.classifier import ClassifierScores, CrossSite, SiteArms
from server.arms import FederatedArms
from server.checkpoint import PhaseCheckpoints
from server.roster import Roster
from server.settings import StudySettings
from server.site_scores import MODEL, instruct, model_scores

ARM = "real"
"""The matrix that compares sites: classifiers that were trained on real images only."""

FURTHER = ("real_synthetic", "synthetic")
"""Arms with a matrix of their own beside it."""


@dataclass(frozen=True)
class CrossSites:
    """Every matrix: of the classifiers of each arm, and each arm's gain over ``real`` in every cell."""

    arms: dict[str, CrossSite]
    gains: dict[str, CrossSite]


def cross_site(grid: Grid, settings: StudySettings, roster: Roster, federated: FederatedArms) -> CrossSites:
    """Rows: the sites whose policy lets their model go, then ``federated``. Columns: every site that evaluates.

    The matrix of ``synthetic`` is that of the generators' images: made at one site, tried on real patients of another.
    A site's own model passes through memory here and is not kept.
    """
    settings.progress.phase("cross_site", 1)
    started = time.monotonic()
    evaluators = [member.site for member in roster.able("evaluate")]
    arms: dict[str, CrossSite] = {}
    gains: dict[str, CrossSite] = {}
    for arm in (ARM, *FURTHER):
        if arm not in federated.weights:
            continue
        rows = _rows(grid, settings, roster, federated, arm)
        arms[arm] = matrix(rows, evaluators, [(metric, "", "") for metric in ("auc", "f1", "accuracy")])
        if arm != ARM:
            gains[arm] = matrix(rows, evaluators, [(metric, "", REAL_ONLY) for metric in ("auc", "accuracy")])
    settings.progress.advance(
        round=1, contributors=evaluators, losses={}, scores={}, seconds=time.monotonic() - started
    )
    return CrossSites(arms, gains)


def _rows(
    grid: Grid, settings: StudySettings, roster: Roster, federated: FederatedArms, arm: str
) -> dict[str, Mapping[str, ClassifierScores]]:
    """Scores by model and site."""
    evaluators = roster.able("evaluate")
    rows: dict[str, Mapping[str, ClassifierScores]] = {}
    for member in roster.able("classifier"):
        if not member.hello.share_site_model or "evaluate" not in member.hello.tasks:
            continue
        phase = f"cross_site/{member.site}" + (f"/{arm}" if arm != ARM else "")
        checkpoints = PhaseCheckpoints(settings.run_dir, phase)
        kept = checkpoints.result()
        if kept is None:
            answers = instruct(grid, settings, [member], Action.SITE_MODEL, phase, arm=arm)
            if member.site not in answers.replies:
                settings.progress.message(f"{member.site}'s own model is missing: {answers.missing[member.site]}")
                continue
            try:
                weights = _fitting(received_arrays(answers.replies[member.site]), federated.weights[arm])
            except UnacceptableError as refusal:
                settings.progress.message(f"{member.site}'s own model is refused: {refusal}")
                continue
            told = model_scores(grid, settings, evaluators, phase, weights, arm=arm)
            kept = SiteArms(arms={site: scores.arms[MODEL] for site, scores in told.items()}).model_dump()
            checkpoints.finish(kept)
        rows[member.site] = SiteArms.model_validate(kept).arms
    rows["federated"] = federated.by_site(arm)
    return rows


def matrix(rows: Mapping[str, Mapping[str, ClassifierScores]], sites: list[str], keys: Sequence[Key]) -> CrossSite:
    """Figures by model and site as matrices; a cell that is missing or withheld is None."""

    def cell(row: Mapping[str, ClassifierScores], site: str, key: Key) -> Figure | None:
        figure = row[site].get(key) if site in row else None
        return figure if figure is not None and figure.value is not None else None

    figures = {Figure.named(key): [[cell(row, site, key) for site in sites] for row in rows.values()] for key in keys}
    return CrossSite(models=list(rows), sites=sites, figures=figures)


def _fitting(weights: dict[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A site's model goes to other sites only if it has the shape of the federated one and finite values."""
    if _form(weights) != _form(reference):
        raise UnacceptableError("its weights have other names, shapes or types than the study's classifier")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise UnacceptableError("its weights are not finite")
    return weights


def _form(weights: Mapping[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
