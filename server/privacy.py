"""What the study cost its sites in privacy: asked of each at the end, for the report.

With its statement each site gives a witness of how far its ledger had come, signed by itself. It is kept beside the
runs and brought back at the next hello, whatever run that is: so a site learns whether its ledger was set back since.
"""

import logging
from pathlib import Path

from flwr.serverapp import Grid
from pydantic import ValidationError

from common.errors import StudyError
from common.protocol.actions import Action
from common.protocol.records import read_result
from common.results.privacy import LedgerWitness, PrivacyRefusal, PrivacyResults, PrivacyStatement
from common.system.files import write_bytes
from server.checkpoint import PhaseCheckpoints
from server.roster import Roster
from server.settings import StudySettings
from server.site_scores import instruct, tell_missing

WITNESSES = ".witnesses"
"""Beside the runs: what each site gave to keep, a file a site."""


def kept_witnesses(settings: StudySettings) -> dict[str, str]:
    """What each registered site last gave this coordinator to keep, as JSON; sites that gave nothing are missing.

    Only where nodes are registered by name: otherwise nobody knows before the hello who it is.
    """
    kept = {}
    for site in settings.expected:
        file = _witness_file(settings, site)
        try:
            kept[site] = LedgerWitness.model_validate_json(file.read_bytes()).model_dump_json()
        except FileNotFoundError:
            continue
        except (OSError, ValidationError):
            # The study goes on: the site has other witnesses, and this one is written anew at the end.
            logging.getLogger("oncofed.server").exception("a witness cannot be read", extra={"fields": {"site": site}})
    return kept


def _keep_witnesses(settings: StudySettings, statements: dict[str, PrivacyStatement]) -> None:
    for site, statement in statements.items():
        if statement.witness is None or site not in settings.expected:
            continue
        file = _witness_file(settings, site)
        try:
            write_bytes(file, statement.witness.model_dump_json().encode())
        except OSError as error:
            raise StudyError(
                f"{file}: what {site} gave to keep of its privacy ledger cannot be written ({error.strerror}); make "
                "room or let this user write there, and resume the run"
            ) from error


def _witness_file(settings: StudySettings, site: str) -> Path:
    return settings.run_dir.parent / WITNESSES / f"{site}.json"


def privacy_results(grid: Grid, settings: StudySettings, roster: Roster, phases: list[str]) -> PrivacyResults | None:
    """Every training site's own statement, and the rounds that a site refused; None for a study without privacy.

    Args:
        phases: the federated trainings of the study, whose rounds are looked through.
    """
    if settings.experiment.privacy.mode == "none":
        return None
    training = [member for member in roster.members if "train" in member.hello.roles]
    answers = instruct(grid, settings, training, Action.PRIVACY, "privacy", result=PrivacyStatement)
    tell_missing(settings, "privacy", answers)
    statements = {site: read_result(reply, PrivacyStatement) for site, reply in answers.replies.items()}
    # A site that only evaluates has something to state where it pays for its scores; otherwise it has no budget even.
    evaluating = [member for member in roster.members if member not in training]
    others = instruct(grid, settings, evaluating, Action.PRIVACY, "privacy", result=PrivacyStatement)
    told = {site: read_result(reply, PrivacyStatement) for site, reply in others.replies.items()}
    statements |= {site: one for site, one in told.items() if one.mechanisms}
    _keep_witnesses(settings, statements)
    return PrivacyResults(
        sites={site: one.model_copy(update={"witness": None}) for site, one in statements.items()},
        silent=answers.missing,
        refusals=[
            PrivacyRefusal(site=one.site, phase=phase, round=record.round, reason=one.reason)
            for phase in phases
            for record in PhaseCheckpoints(settings.run_dir, phase).records()
            for one in record.refused
        ],
    )
