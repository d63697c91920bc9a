"""Who takes part: node numbers change with every connection, so sites are known by the name they give at hello."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import StudyError
from common.protocol.actions import Action
from common.protocol.records import (
    CONFIG,
    PROTOCOL,
    Instruction,
    SiteHello,
    UnacceptableError,
    check_reply,
    instruction_record,
    read_result,
)
from common.study.experiment import StrategyConfig
from common.study.progress import ABSENT, StudyProgress


@dataclass(frozen=True)
class Member:
    """One site of the study."""

    site: str
    node_id: int
    hello: SiteHello


@dataclass(frozen=True)
class Roster:
    """All sites that said hello, sorted by name, and the nodes that could not be used, with the reason."""

    members: tuple[Member, ...]
    refused: dict[str, str]

    def able(self, task: str) -> list[Member]:
        """The sites that can take part in ``task`` (``gan/<model>``, ``classifier``, ``evaluate``)."""
        return [member for member in self.members if task in member.hello.tasks]

    def require(self, task: str, quorum: int) -> list[Member]:
        """Like :meth:`able`, but at least ``quorum`` of them.

        Raises:
            StudyError: naming the sites there are and what each can do.
        """
        able = self.able(task)
        if len(able) < quorum:
            known = ", ".join(f"{m.site} ({', '.join(m.hello.tasks) or 'nothing'})" for m in self.members) or "none"
            unwilling = [(m.site, m.hello.declined[task]) for m in self.members if task in m.hello.declined]
            raise StudyError(
                f"{task}: {len(able)} of the {quorum} sites needed can take part. Sites: {known}."
                + "".join(f" {site}: {reason}." for site, reason in unwilling)
                + "".join(f" {name}: {reason}." for name, reason in self.refused.items())
                + " Lower strategy.quorum or repair those sites."
            )
        return able


def call_roll(
    grid: Grid,
    *,
    run: str,
    experiment: str,
    sites: int,
    expected: Sequence[str] = (),
    witnesses: Mapping[str, str] | None = None,
    config: StrategyConfig,
    progress: StudyProgress,
) -> Roster:
    """Waits for nodes, asks each who it is, and sorts the answers by site name.

    Args:
        sites: how many nodes are waited for where ``expected`` names none.
        expected: names under which nodes are registered. Others are not asked, and a node is only taken for the site
            that it is registered as.
        witnesses: what each site gave this coordinator to keep of its privacy ledger, by name; it is told to that site
            alone, and only where the name is the one that its node is registered under.
        config: deadlines and quorum. Where names are expected, the study begins with those that came in time, if they
            are enough.

    Raises:
        StudyError: if too few nodes connect in time, or two of them give the same name.
    """
    from server.exchange import ask

    absent: dict[str, str] = {}
    if expected:
        names = _gather(grid, expected, config, progress)
        absent = {
            site: shut_out(grid, site) or f"it was not connected within {config.gathering:.0f} s"
            for site in expected
            if site not in names
        }
        for site, reason in absent.items():
            progress.site(site, reason)
        unknown = [Member(site, names[site], _NOBODY) for site in sorted(names)]
    else:
        unknown = [Member(f"node {node}", node, _NOBODY) for node in _wait_for_any(grid, sites, config.deadline)]
    kept = witnesses if witnesses is not None and expected else {}
    instruction = Instruction(run=run, phase="hello", experiment=experiment)
    questions = {
        member.site: Message(
            RecordDict(
                {CONFIG: instruction_record(instruction.model_copy(update={"witness": kept.get(member.site, "")}))}
            ),
            dst_node_id=member.node_id,
            message_type=Action.HELLO,
        )
        for member in unknown
    }
    introductions: dict[str, SiteHello] = {}

    def check(member: Member, content: RecordDict) -> None:
        check_reply(content, run=run, phase="hello", server_round=0, site=None)
        hello = read_result(content, SiteHello)
        if hello.protocol != PROTOCOL:
            raise UnacceptableError(f"it speaks protocol {hello.protocol}, this coordinator {PROTOCOL}")
        if expected and hello.site != member.site:
            raise UnacceptableError(f"it calls itself {hello.site}, but its key is registered for {member.site}")
        introductions[member.site] = hello

    answers = ask(grid, questions, unknown, deadline=config.deadline, check=check, progress=progress)
    members: dict[str, Member] = {}
    for member in unknown:
        if member.site not in introductions:
            continue
        hello = introductions[member.site]
        if hello.site in members:
            raise StudyError(f"two nodes call themselves {hello.site}; every site.yaml needs its own name")
        members[hello.site] = Member(hello.site, member.node_id, hello)
    return Roster(tuple(members[name] for name in sorted(members)), {**absent, **answers.missing})


def _gather(grid: Grid, expected: Sequence[str], config: StrategyConfig, progress: StudyProgress) -> dict[str, int]:
    """Node by site of those that connect in time.

    Raises:
        StudyError: if they are fewer than the quorum.
    """
    end, told = time.monotonic() + config.gathering, False
    while True:
        names = registered_nodes(grid)
        missing = [site for site in expected if site not in names]
        awaited = [site for site in missing if not shut_out(grid, site)]
        if not awaited or time.monotonic() >= end:
            break
        if not told:
            progress.message(
                f"waiting for {', '.join(awaited)} to connect, {config.gathering:.0f} s at most (strategy.gathering); "
                f"then the study begins with those that are there, if they are {config.quorum} (strategy.quorum)"
            )
            for site in awaited:
                progress.site(site, ABSENT)
            told = True
        time.sleep(0.5)
    here = {site: node for site, node in names.items() if site in expected}
    if len(here) < config.quorum:
        raise StudyError(
            f"{len(here)} of {len(expected)} sites are connected after {config.gathering:.0f} s, {config.quorum} are "
            f"needed; missing: {', '.join(missing)}. Ask these hospitals whether their node runs (oncofed-client "
            "status), and resume the run."
        )
    return here


def shut_out(grid: Grid, site: str) -> str:
    """Why a site cannot come, where the grid knows it; empty if it can."""
    known: Callable[[str], str] | None = getattr(grid, "shut_out", None)
    return known(site) if known is not None else ""


def registered_nodes(grid: Grid) -> dict[str, int]:
    """Node by the name that it was registered with, of the nodes that are connected now."""
    known: Callable[[], Iterable[Any]] | None = getattr(grid, "get_nodes", None)
    return {node.name: node.node_id for node in known() if node.name} if known is not None else {}


def _wait_for_any(grid: Grid, sites: int, deadline: float) -> list[int]:
    end = time.monotonic() + deadline
    while len(node_ids := sorted(grid.get_node_ids())) < sites:
        if time.monotonic() >= end:
            raise StudyError(
                f"{len(node_ids)} of {sites} sites connected within {deadline:.0f} s. "
                "Check that the missing sites are started, or lower the number of sites."
            )
        time.sleep(0.5)
    return node_ids


_NOBODY = SiteHello(site="unknown", organ="", modality="", contrasts=[], roles=[], tasks=[])
