"""What the study cost its sites in privacy: asked of each at the end, for the report."""

from flwr.serverapp import Grid

from common.records import Action, read_result
from common.results_privacy import PrivacyRefusal, PrivacyResults, PrivacyStatement
from server.checkpoint import PhaseCheckpoints
from server.roster import Roster
from server.settings import StudySettings
from server.site_scores import instruct, tell_missing


def privacy_results(grid: Grid, settings: StudySettings, roster: Roster, phases: list[str]) -> PrivacyResults | None:
    """Every training site's own statement, and the rounds that a site refused; None for a study without privacy.

    Args:
        phases: the federated trainings of the study, whose rounds are looked through.
    """
    if settings.experiment.privacy.mode == "none":
        return None
    members = [member for member in roster.members if "train" in member.hello.roles]
    answers = instruct(grid, settings, members, Action.PRIVACY, "privacy", result=PrivacyStatement)
    tell_missing(settings, "privacy", answers)
    return PrivacyResults(
        sites={site: read_result(reply, PrivacyStatement) for site, reply in answers.replies.items()},
        silent=answers.missing,
        refusals=[
            PrivacyRefusal(site=one["site"], phase=phase, round=record["round"], reason=one["reason"])
            for phase in phases
            for record in PhaseCheckpoints(settings.run_dir, phase).records()
            for one in record.get("refused", [])
        ],
    )
