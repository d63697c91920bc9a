"""One federated training: rounds of send, check, aggregate, score, save, whatever is being trained."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from common.errors import StudyError
from common.experiment import StrategyConfig
from common.progress import StudyProgress
from common.records import (
    ARRAYS,
    CONFIG,
    Action,
    Instruction,
    UpdateCheck,
    check_reply,
    from_arrays,
    instruction_record,
    read_losses,
    to_arrays,
)
from server.checkpoint import PhaseCheckpoints
from server.exchange import ask
from server.roster import Member, SiteGrid
from server.strategy import build_strategy, norm_bound

log = logging.getLogger("oncofed.server")


@dataclass(frozen=True)
class Scored:
    """What a round is worth: figures for the record, a few of them for the terminal, and the one that chooses."""

    figures: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
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
    records: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class FederatedTraining:
    """The round loop around Flower's strategies.

    Attributes:
        run, phase, action, arm: what sites are asked to do (see ``records.Instruction``).
        experiment: resolved YAML that sites receive.
        config: strategy, deadline, quorum and norm bound.
        members: the sites that take part.
        rounds: how many rounds in all.
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
    arm: str = ""
    score: Callable[[int, dict[str, Tensor]], Scored] = nothing_scored

    def train(self, initial: Mapping[str, Tensor]) -> Training:
        """Trains from ``initial``, or from the last round on disk if there is one.

        Raises:
            StudyError: if a round ends with fewer valid replies than the quorum; it names every missing site.
        """
        strategy = build_strategy(self.config)
        records = self.checkpoints.records()
        weights = self.checkpoints.weights(len(records)) if records else dict(initial)
        self.progress.phase(self.phase, self.rounds)
        for record in records:
            self._show(record, {})
        for server_round in range(len(records) + 1, self.rounds + 1):
            started = time.monotonic()
            weights, record = self._round(strategy, server_round, weights, records)
            scored = self.score(server_round, weights)
            record |= {**scored.figures, "choice": scored.choice, "seconds": round(time.monotonic() - started, 2)}
            records.append(record)
            self.checkpoints.save_round(server_round, weights, record, chosen=_choose(records))
            log.info("round", extra={"phase": self.phase, **record})
            self._show(record, scored.shown)
        chosen = _choose(records)
        return Training(chosen, self.checkpoints.weights(chosen), records)

    def _round(
        self, strategy: Strategy, server_round: int, weights: dict[str, Tensor], records: list[dict[str, Any]]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Sends ``weights`` out and aggregates what comes back."""
        instruction = Instruction(
            run=self.run, phase=self.phase, experiment=self.experiment, arm=self.arm, **{"server-round": server_round}
        )
        bound = norm_bound(self.config, records[-1]["norms"] if records else [], weights)
        norms: dict[str, float] = {}

        def check(member: Member, content: RecordDict) -> None:
            check_reply(content, run=self.run, phase=self.phase, server_round=server_round, site=member.site)
            norms[member.site] = UpdateCheck(weights, member.hello.examples, bound).norm(content)

        answers = ask(
            self.grid,
            self._questions(strategy, server_round, to_arrays(weights), instruction_record(instruction)),
            self.members,
            deadline=self.config.deadline,
            check=check,
            progress=self.progress,
        )
        if len(answers.replies) < self.config.quorum:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in answers.missing.items())
            raise StudyError(
                f"{self.phase}, round {server_round}: {len(answers.replies)} of {len(self.members)} sites replied, "
                f"{self.config.quorum} are needed. {reasons}. Repair those sites and resume the run."
            )
        # The strategy takes each reply's one ArrayRecord and MetricRecord; sorted by site, so the sum is reproducible.
        aggregated, metrics = strategy.aggregate_train(server_round, list(answers.messages.values()))
        if aggregated is None:
            raise StudyError(f"{self.phase}, round {server_round}: {self.config.name} aggregated nothing")
        record = {
            "round": server_round,
            "contributors": list(answers.replies),
            "refused": [{"site": site, "reason": reason} for site, reason in answers.missing.items()],
            "losses": read_losses(metrics or {}),
            "norms": [norms[site] for site in answers.replies],
        }
        return from_arrays(aggregated), record

    def _questions(
        self, strategy: Strategy, server_round: int, arrays: ArrayRecord, config: ConfigRecord
    ) -> dict[str, Message]:
        """The strategy's messages, addressed to our named action (Flower's would be a plain ``train``)."""
        site_of = {member.node_id: member.site for member in self.members}
        messages = strategy.configure_train(server_round, arrays, config, SiteGrid(self.grid, self.members))
        return {
            site_of[message.metadata.dst_node_id]: Message(
                RecordDict({ARRAYS: message.content[ARRAYS], CONFIG: message.content[CONFIG]}),
                dst_node_id=message.metadata.dst_node_id,
                message_type=self.action,
                group_id=str(server_round),
            )
            for message in messages
        }

    def _show(self, record: dict[str, Any], scores: dict[str, float]) -> None:
        self.progress.advance(
            round=record["round"],
            contributors=record["contributors"],
            losses=record["losses"],
            scores=scores,
            seconds=record["seconds"],
        )


def _choose(records: list[dict[str, Any]]) -> int:
    """The round with the highest choice figure; the last one where there is none."""
    scored = [record for record in records if record["choice"] is not None]
    best = max(scored, key=lambda record: record["choice"]) if scored else records[-1]
    return int(best["round"])
