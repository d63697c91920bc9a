"""One federated training: rounds of send, check, aggregate, score, save, whatever is being trained."""

import logging
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import StudyError
from common.figures.figure import ImageScores
from common.protocol.actions import Action
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    ROUND,
    Instruction,
    UnacceptableError,
    check_reply,
    instruction_record,
    read_losses,
    received_arrays,
    to_arrays,
)
from common.protocol.reply_checks import UpdateCheck
from common.results.shares import Shares
from common.study.experiment import StrategyConfig
from common.study.progress import StudyProgress
from server.aggregators.aggregator import Update
from server.checkpoint import PhaseCheckpoints
from server.exchange import ask
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
        updates: replies that passed every check.
        missing: reason by site for those that did not, or did not come.
        norms: of each update's difference from what was expected.
    """

    updates: dict[str, Update] = field(repr=False)
    missing: dict[str, str]
    norms: dict[str, float]


class RoundExchange(Protocol):
    """How sites and coordinator work together in a round."""

    def round(
        self, training: "FederatedTraining", server_round: int, weights: dict[str, Tensor], records: list[RoundRecord]
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
        action, asked: what sites are asked to do in every round.
        config: strategy, deadline, quorum and norm bound.
        members: the sites that take part.
        rounds: how many rounds in all.
        exchange: how a round is done: what is sent, and what is made of the replies.
    """

    grid: Grid
    action: Action
    asked: Instruction
    config: StrategyConfig
    members: list[Member]
    rounds: int
    checkpoints: PhaseCheckpoints
    progress: StudyProgress
    exchange: RoundExchange
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
        self.progress.phase(self.asked.phase, self.rounds)
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
            log.info("round", extra={"phase": self.asked.phase, **record.model_dump()})
            self._show(record, scored.shown)
            if server_round == 1:
                self.progress.message(f"{self.asked.phase}: shares in the average: {shares_told(record.shares)}")
        chosen = chosen_round(records)
        return Training(chosen, self.checkpoints.weights(chosen), records)

    def norm_bound(self, previous: Sequence[float], weights: Mapping[str, Tensor]) -> float:
        """The largest update norm that is accepted in the coming round.

        ``strategy.norm_bound`` times the median of the ``previous`` round's norms. Before there is one, times the norm
        of the weights themselves: a first update that moves further than that is not training.
        """
        if previous:
            return self.config.norm_bound * statistics.median(previous)
        total = sum(float(tensor.double().square().sum()) for tensor in weights.values())
        return self.config.norm_bound * max(math.sqrt(total), 1.0)

    def hear(
        self,
        number: int,
        sent: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        bound: float,
        counted: Mapping[str, int],
        extra: Mapping[str, Any] | None = None,
    ) -> Heard:
        """Asks every member and checks what comes back.

        Args:
            number: of the exchange.
            sent: the weights that every site is sent.
            expected: names, shapes and starting values of the arrays in a reply.
            bound: largest norm of (reply - expected).
            counted: by site, the last exchange in which its reply counted; told to each, so that one whose update was
                refused, or came too late, goes back to the optimisers of the update before.
            extra: further fields of the instruction, by alias.

        Raises:
            StudyError: if fewer replies than the quorum are valid; it names every missing site.
        """
        norms: dict[str, float] = {}
        fields = self.asked.model_dump(by_alias=True) | {ROUND: number, **(extra or {})}
        arrays, questions = to_arrays(sent), {}
        for member in self.members:
            instruction = Instruction.model_validate({**fields, "counted": counted.get(member.site, 0)})
            content = RecordDict({ARRAYS: arrays, CONFIG: instruction_record(instruction)})
            questions[member.site] = Message(
                content, dst_node_id=member.node_id, message_type=self.action, group_id=str(number)
            )

        def check(member: Member, content: RecordDict) -> None:
            try:
                check_reply(content, run=self.asked.run, phase=self.asked.phase, server_round=number, site=member.site)
                norms[member.site] = UpdateCheck(expected, member.hello.examples, bound).norm(content)
            except UnacceptableError:
                raise
            except Exception as error:  # one site's reply, whatever it is, must not end the study of the others
                log.exception("reply", extra={"phase": self.asked.phase, "site": member.site})
                raise UnacceptableError("the reply cannot be read") from error

        answers = ask(
            self.grid, questions, self.members, deadline=self.config.deadline, check=check, progress=self.progress
        )
        missing = dict(answers.missing)
        for site in _unlike_the_others(answers.replies):
            missing[site] = "refused: its losses are not those that the other sites report"
            self.progress.site(site, missing[site])
        # Each reply is let go as it is read: all of them twice would fill the memory.
        updates = {site: _read(answers.replies.pop(site)) for site in list(answers.replies) if site not in missing}
        if len(updates) < self.config.quorum:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(missing.items()))
            raise StudyError(
                f"{self.asked.phase}, round {number}: {len(updates)} of {len(self.members)} sites replied, "
                f"{self.config.quorum} are needed. {reasons}. "
                + way_out(f"models.{self.asked.model}" if self.asked.model else "classifier")
            )
        return Heard(updates, dict(sorted(missing.items())), {site: norms[site] for site in updates})

    def _show(self, record: RoundRecord, scores: Mapping[str, float]) -> None:
        self.progress.advance(
            round=record.round,
            contributors=record.contributors,
            losses=record.losses,
            scores=scores,
            seconds=record.seconds,
        )


def _read(content: RecordDict) -> Update:
    return Update(received_arrays(content), read_losses(content.metric_records[METRICS]))


def _unlike_the_others(replies: Mapping[str, RecordDict]) -> list[str]:
    """The sites whose metrics have other names than most: their losses would have no mean.

    Where as many stand against as many, those with the fewest names are taken to be right.
    """
    names = {site: tuple(sorted(content.metric_records[METRICS])) for site, content in replies.items()}
    counts = Counter(names.values())
    usual = min(counts, key=lambda one: (-counts[one], len(one), one), default=())
    return [site for site, own in names.items() if own != usual]
