"""Classifier scores that sites compute on their own test patients and send as aggregates."""

from collections.abc import Mapping, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from pydantic import BaseModel, field_validator
from torch import Tensor

from common.errors import StudyError
from common.figures.figure import REAL_ONLY
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, check_reply, instruction_record, read_result, to_arrays
from common.results.classifier import SiteArms, ToldScores
from common.study.trials import Trial
from server.exchange import Answers, ask
from server.instructions import instruction_of
from server.roster import Member
from server.settings import StudySettings
from server.silences import note_silences, way_out

MODEL = "model"
"""The name under which a site scores the one model that it was sent."""


class ModelScores(SiteArms):
    """A site's reply where it was asked to score one model: that one, and no other."""

    def without_gains(self) -> "ModelScores":
        """The same without what is told over another model."""

        def stripped(scores: dict[str, ToldScores]) -> dict[str, ToldScores]:
            return {
                name: one.model_copy(update={"figures": [each for each in one.figures if each.against != REAL_ONLY]})
                for name, one in scores.items()
            }

        return self.model_copy(update={"arms": stripped(self.arms), "left_out": stripped(self.left_out)})

    @field_validator("arms")
    @classmethod
    def _of_the_model(cls, value: dict[str, ToldScores]) -> dict[str, ToldScores]:
        if set(value) != {MODEL}:
            raise ValueError("holds scores of something else than the model that was sent")
        return value

    @field_validator("left_out")
    @classmethod
    def _of_the_model_too(cls, value: dict[str, ToldScores]) -> dict[str, ToldScores]:
        if value:
            cls._of_the_model(value)
        return value


def instruct(
    grid: Grid,
    settings: StudySettings,
    members: Sequence[Member],
    action: Action,
    phase: str,
    weights: Mapping[str, Tensor] | None = None,
    *,
    model: str = "",
    arm: str = "",
    trial: Trial | None = None,
    result: type[BaseModel] | None = None,
) -> Answers:
    """Asks ``members`` to do ``action`` once, outside the round loop; without a ``trial`` in the first one."""
    instruction = instruction_of(
        trial or Trial(),
        run=settings.name,
        phase=phase,
        experiment=settings.told,
        model=model,
        arm=arm,
    )
    arrays = to_arrays(weights) if weights is not None else None
    questions = {}
    for member in members:
        content = RecordDict({CONFIG: instruction_record(instruction)})
        if arrays is not None:
            content[ARRAYS] = arrays
        questions[member.site] = Message(content, dst_node_id=member.node_id, message_type=action)

    def check(member: Member, content: RecordDict) -> None:
        check_reply(content, run=settings.name, phase=phase, server_round=0, site=member.site)
        if result is not None:
            read_result(content, result)

    return ask(
        grid,
        questions,
        members,
        deadline=settings.experiment.strategy.deadline,
        check=check,
        progress=settings.progress,
    )


def require_quorum(settings: StudySettings, phase: str, answers: Answers, members: Sequence[Member]) -> None:
    """Stops the study where too few sites did their part.

    Raises:
        StudyError: naming every missing site.
    """
    quorum = min(settings.experiment.strategy.quorum, len(members))
    if len(answers.replies) < quorum:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in answers.missing.items())
        raise StudyError(
            f"{phase}: {len(answers.replies)} of {len(members)} sites replied, {quorum} are needed. {reasons}. "
            + way_out("classifier")
        )
    tell_missing(settings, phase, answers)


def tell_missing(settings: StudySettings, phase: str, answers: Answers) -> None:
    """Names the sites that a phase goes on without, on the terminal and for the report."""
    for site, reason in answers.missing.items():
        settings.progress.message(f"{phase}: {site} is missing: {reason}")
    note_silences(settings.run_dir, phase, answers.missing)


def model_scores(
    grid: Grid,
    settings: StudySettings,
    members: Sequence[Member],
    phase: str,
    weights: Mapping[str, Tensor],
    *,
    arm: str = "",
    trial: Trial | None = None,
) -> dict[str, ModelScores]:
    """One model's scores at every site that answers."""
    answers = instruct(
        grid, settings, members, Action.EVALUATE, phase, weights, arm=arm, trial=trial, result=ModelScores
    )
    tell_missing(settings, phase, answers)
    return {site: read_result(reply, ModelScores) for site, reply in answers.replies.items()}
