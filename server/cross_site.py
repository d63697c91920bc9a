"""The cross-site matrix: every site's own classifier and the federated one, on every site's test patients."""

import time
from collections.abc import Mapping

from flwr.serverapp import Grid
from torch import Tensor

from common.records import Action, UnacceptableError, received_arrays
from common.results import ArmScores, CrossSite, Interval, SiteArms
from server.arms import FederatedArms
from server.checkpoint import PhaseCheckpoints
from server.roster import Roster
from server.settings import StudySettings
from server.site_scores import instruct, model_scores

ARM = "real"
"""The matrix compares sites, so it uses classifiers that were trained on real images only."""


def cross_site(grid: Grid, settings: StudySettings, roster: Roster, federated: FederatedArms) -> CrossSite | None:
    """Rows: the sites whose policy lets their model go, then ``federated``. Columns: every site that evaluates.

    A site's own model passes through memory here and is not kept.
    """
    if ARM not in federated.weights:
        return None
    settings.progress.phase("cross_site", 1)
    started = time.monotonic()
    evaluators = roster.able("evaluate")
    rows: dict[str, dict[str, ArmScores]] = {}
    for member in roster.able("classifier"):
        if not member.hello.share_site_model or "evaluate" not in member.hello.tasks:
            continue
        checkpoints = PhaseCheckpoints(settings.run_dir, f"cross_site/{member.site}")
        kept = checkpoints.result()
        if kept is None:
            answers = instruct(grid, settings, [member], Action.SITE_MODEL, f"cross_site/{member.site}")
            if member.site not in answers.replies:
                settings.progress.message(f"{member.site}'s own model is missing: {answers.missing[member.site]}")
                continue
            try:
                weights = _fitting(received_arrays(answers.replies[member.site]), federated.weights[ARM])
            except UnacceptableError as refusal:
                settings.progress.message(f"{member.site}'s own model is refused: {refusal}")
                continue
            scores = model_scores(grid, settings, evaluators, f"cross_site/{member.site}", weights)
            kept = SiteArms(arms=scores).model_dump()
            checkpoints.finish(kept)
        rows[member.site] = SiteArms.model_validate(kept).arms
    rows["federated"] = federated.by_site[ARM]
    settings.progress.advance(
        round=1,
        contributors=[member.site for member in evaluators],
        losses={},
        scores={},
        seconds=time.monotonic() - started,
    )
    return matrix(rows, [member.site for member in evaluators])


def matrix(rows: Mapping[str, Mapping[str, ArmScores]], sites: list[str]) -> CrossSite:
    """Scores by model and site as matrices; a cell that is missing or suppressed is None."""

    def cells(metric: str) -> list[list[Interval | None]]:
        return [[getattr(row[site], metric) if site in row else None for site in sites] for row in rows.values()]

    def means(metric: str) -> list[list[float | None]]:
        return [[cell.mean if cell is not None else None for cell in line] for line in cells(metric)]

    return CrossSite(
        models=list(rows),
        sites=sites,
        auc=means("auc"),
        accuracy=means("accuracy"),
        auc_interval=cells("auc"),
        accuracy_interval=cells("accuracy"),
    )


def _fitting(weights: dict[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A site's model goes to other sites only if it has the shape of the federated one and finite values."""
    if _form(weights) != _form(reference):
        raise UnacceptableError("its weights have other names, shapes or types than the study's classifier")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise UnacceptableError("its weights are not finite")
    return weights


def _form(weights: Mapping[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
