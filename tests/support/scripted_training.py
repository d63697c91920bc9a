"""A federated training of the three sites of a :class:`ScriptedGrid`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid
from scripted_grid import SITES

from common.protocol.actions import Action
from common.protocol.records import Instruction, SiteHello
from common.study.experiment import StrategyConfig
from common.study.progress import NoProgress
from server.checkpoint import PhaseCheckpoints
from server.roster import Member
from server.rounds import FederatedTraining, RoundExchange


def training(
    grid: Grid,
    folder: Path,
    exchange: RoundExchange,
    *,
    rounds: int = 2,
    config: StrategyConfig | None = None,
    members: Sequence[Member] | None = None,
    model: str = "",
    **options: Any,
) -> FederatedTraining:
    """``rounds`` rounds of ``gan/a`` with checkpoints in ``folder``; the quorum is 2 and the deadline 5 s unless
    ``config`` says otherwise."""
    return FederatedTraining(
        grid=grid,
        action=Action.TRAIN_GAN,
        asked=Instruction(run="demo", phase="gan/a", model=model),
        config=config or StrategyConfig(quorum=2, deadline=5.0),
        members=list(members or (member(site) for site in SITES)),
        rounds=rounds,
        checkpoints=PhaseCheckpoints(folder, "gan/a"),
        exchange=exchange,
        **{"progress": NoProgress(), **options},
    )


def member(site: str, examples: int | None = None) -> Member:
    """A site that declares a number of training slices, or none."""
    hello = SiteHello(
        site=site,
        organ="brain",
        modality="MR",
        contrasts=["flair"],
        roles=["train"],
        tasks=["gan/a"],
        examples=examples or 1,
        examples_of=None if examples is None else "slices",
    )
    return Member(site, SITES.index(site), hello)
