"""One federated training: rounds of send, check, aggregate, score, save, whatever is being trained."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import StudyError
from common.figures.figure import ImageScores
from common.protocol.actions import Action
from common.protocol.records import CONFIG, METRICS, Instruction, UnacceptableError, check_reply
from common.protocol.reply_checks import UpdateCheck
from common.results.shares import Shares
from common.study.experiment import StrategyConfig
from common.study.progress import StudyProgress
from common.study.trials import Trial
from server.checkpoint import PhaseCheckpoints
from server.exchange import ask
from server.instructions import instruction_of
from server.roster import Member
from server.round_record import RoundRecord, chosen_round, contributors
from server.silences import way_out
from server.site_weights import mean_shares, shares_told

log = logging.getLogger("oncofed.server")


@dataclass(frozen=True)
class Scored:
    """What a round is worth: scores by subject, a few of them for the terminal, and the one that chooses."""

    scores: dict[str, ImageScores] = field(default_factory=dict)
    shown: Mapping[str, float] = field(default_factory=dict)
    choice: float | None = None
    """Higher is better; None: the last round is chosen."""


def nothing_scored(server_round: int, weights: dict[str, Tensor]) -> Scored:
    """For trainings that the coordinator cannot score."""
    return Scored()


@dataclass(frozen=True)
class Training:
    """A finished federated training."""

    chosen_round: int
    weights: dict[str, Tensor] = field(repr=False)
    records: list[RoundRecord] = field(repr=False)

    @property
    def contributors(self) -> dict[str, int]:
        """By site, in how many of the rounds behind the chosen weights its update counted."""
        return contributors(self.records)

    @property
    def shares(self) -> list[Shares]:
        """How much each site counted in the average of each network, over the same rounds."""
        return mean_shares([record.shares for record in self.records if record.round <= self.chosen_round])


@dataclass(frozen=True)
class Heard:
    """What came back from one exchange, sorted by site.

    Attributes:
        messages: replies that passed every check.
        missing: reason by site for those that did not, or did not come.
        norms: of each reply's difference from what was expected.
    """

    messages: dict[str, Message] = field(repr=False)
    missing: dict[str, str]
    norms: dict[str, float]


class RoundExchange(Protocol):
    """How sites and coordinator work together in a round."""

    def round(
        self,
        training: "FederatedTraining",
        server_round: int,
        weights: dict[str, Tensor],
        records: list[RoundRecord],
    ) -> tuple[dict[str, Tensor], RoundRecord]:
        """From ``weights`` and the ``records`` of earlier rounds to the next weights and their record, which is still
        without scores, choice and duration.

        Raises:
            StudyError: if the round cannot be done.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """What the coordinator must remember between rounds beside the weights."""
        ...

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Takes up a training that was interrupted after a round with these weights and this state."""
        ...


@dataclass(frozen=True)
class FederatedTraining:
    """The round loop: whatever is exchanged, rounds are checked, scored, kept and resumed alike.

    Attributes:
        run, phase, action, arm, model, trial: what sites are asked to do (see ``records.Instruction``).
        experiment: resolved YAML that sites receive.
        config: strategy, deadline, quorum and norm bound.
        members: the sites that take part.
        rounds: how many rounds in all.
        exchange: how a round is done: what is sent, and what is made of the replies.
    """

    grid: Grid
    run: str
    phase: str
    action: Action
    experiment: str
    config: StrategyConfig
    members: list[Member]
    rounds: int
    checkpoints: PhaseCheckpoints
    progress: StudyProgress
    exchange: RoundExchange
    arm: str = ""
    model: str = ""
    trial: Trial = field(default_factory=Trial)
    score: Callable[[int, dict[str, Tensor]], Scored] = nothing_scored

    def train(self, initial: Mapping[str, Tensor]) -> Training:
        """Trains from ``initial``, or from the last round on disk if there is one.

        Raises:
            StudyError: if a round ends with fewer valid replies than the quorum; it names every missing site.
        """
        records = self.checkpoints.records()
        weights = self.checkpoints.weights(len(records)) if records else dict(initial)
        if records:
            self.exchange.restore(weights, self.checkpoints.state(len(records)))
        self.progress.phase(self.phase, self.rounds)
        for record in records:
            self._show(record, {})
        for server_round in range(len(records) + 1, self.rounds + 1):
            started = time.monotonic()
            weights, record = self.exchange.round(self, server_round, weights, records)
            scored = self.score(server_round, weights)
            seconds = round(time.monotonic() - started, 2)
            record = record.model_copy(
                update={"scores": dict(scored.scores), "choice": scored.choice, "seconds": seconds}
            )
            records.append(record)
            self.checkpoints.save_round(
                server_round, weights, record, chosen=chosen_round(records), state=self.exchange.state()
            )
            log.info("round", extra={"phase": self.phase, **record.model_dump()})
            self._show(record, scored.shown)
            if server_round == 1:
                self.progress.message(f"{self.phase}: shares in the average: {shares_told(record.shares)}")
        chosen = chosen_round(records)
        return Training(chosen, self.checkpoints.weights(chosen), records)

    def instruction(self, number: int) -> Instruction:
        """What sites are asked in exchange ``number``."""
        return instruction_of(
            self.trial,
            run=self.run,
            phase=self.phase,
            experiment=self.experiment,
            model=self.model,
            arm=self.arm,
            server_round=number,
        )

    def hear(
        self,
        number: int,
        questions: Mapping[str, Message],
        expected: Mapping[str, Tensor],
        bound: float,
        counted: Mapping[str, int],
    ) -> Heard:
        """Asks every member and checks what comes back.

        Args:
            number: of the exchange.
            questions: message by site.
            counted: by site, the last exchange in which its reply counted; told to each, so that one whose update was
                refused, or came too late, goes back to the optimisers of the update before.
            expected: names, shapes and starting values of the arrays in a reply.
            bound: largest norm of (reply - expected).

        Raises:
            StudyError: if fewer replies than the quorum are valid; it names every missing site.
        """
        norms: dict[str, float] = {}
        for site, question in questions.items():
            asked = question.content.config_records[CONFIG]
            question.content[CONFIG] = ConfigRecord({**asked, "counted": counted.get(site, 0)})

        def check(member: Member, content: RecordDict) -> None:
            try:
                check_reply(content, run=self.run, phase=self.phase, server_round=number, site=member.site)
                norms[member.site] = UpdateCheck(expected, member.hello.examples, bound).norm(content)
            except UnacceptableError:
                raise
            except Exception as error:  # one site's reply, whatever it is, must not end the study of the others
                log.exception("reply", extra={"phase": self.phase, "site": member.site})
                raise UnacceptableError("the reply cannot be read") from error

        answers = ask(
            self.grid, questions, self.members, deadline=self.config.deadline, check=check, progress=self.progress
        )
        missing = dict(answers.missing)
        for site in _unlike_the_others(answers.replies):
            missing[site] = "refused: its losses are not those that the other sites report"
            self.progress.site(site, missing[site])
        messages = {site: message for site, message in answers.messages.items() if site not in missing}
        if len(messages) < self.config.quorum:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(missing.items()))
            raise StudyError(
                f"{self.phase}, round {number}: {len(messages)} of {len(self.members)} sites replied, "
                f"{self.config.quorum} are needed. {reasons}. "
                + way_out(f"models.{self.model}" if self.model else "classifier")
            )
        return Heard(messages, dict(sorted(missing.items())), {site: norms[site] for site in messages})

    def _show(self, record: RoundRecord, scores: Mapping[str, float]) -> None:
        self.progress.advance(
            round=record.round,
            contributors=record.contributors,
            losses=record.losses,
            scores=scores,
            seconds=record.seconds,
        )


def _unlike_the_others(replies: Mapping[str, RecordDict]) -> list[str]:
    """The sites whose metrics have other names than most: a strategy would aggregate nothing at all because of them.

    Where as many stand against as many, those with the fewest names are taken to be right.
    """
    names = {site: tuple(sorted(content.metric_records[METRICS])) for site, content in replies.items()}
    counts = Counter(names.values())
    usual = min(counts, key=lambda one: (-counts[one], len(one), one), default=())
    return [site for site, own in names.items() if own != usual]
