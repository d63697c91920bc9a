"""A lost node, a busy node and a crashed process, over a grid that is told what each node answers."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from common.protocol.actions import NOT_NOW
from server.exchange import _reason
from server.returning import APP_CRASHED, MOST_LOSSES, NODE_LOST, OwnError, ReturningGrid


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Nodes(Grid):
    """Two nodes; ``answers`` says what comes next of each: an error code, or None for a reply that counts."""

    def __init__(self) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = 1
        TaskIdentity.node_id = 1
        self.connected = {2, 3}
        self.answers: dict[int, list[int | None]] = {2: [], 3: []}
        self.sent: list[Message] = []
        self.say_so: set[int] = set()
        """Nodes that say themselves that they are lost; of the others Flower does."""

    def get_node_ids(self) -> Iterable[int]:
        return self.connected

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            identifier = f"m{len(self.sent)}"
            message.metadata.__dict__["_message_id"] = identifier
            self.sent.append(message)
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for message in self.sent:
            answers = self.answers[message.metadata.dst_node_id]
            if message.metadata.message_id in message_ids and answers:
                code = answers.pop(0)
                what: Any = RecordDict() if code is None else Error(code=code, reason="a reason")
                replies.append(Message(what, reply_to=message))
                if code == NODE_LOST and message.metadata.dst_node_id not in self.say_so:
                    replies[-1].metadata.__dict__["_src_node_id"] = SUPERLINK_NODE_ID
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise NotImplementedError


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grid(nodes: Nodes, clock: Clock) -> ReturningGrid:
    return ReturningGrid(nodes, patience=100, again_after=60, clock=clock)


def question(node: int) -> Message:
    content = RecordDict({"config": ConfigRecord({"round": 3})})
    return Message(content, dst_node_id=node, message_type="train.gan", group_id="3")


def test_a_lost_node_gets_the_same_work_when_it_has_returned(nodes: Nodes, grid: ReturningGrid) -> None:
    [known] = grid.push_messages([question(2)])
    nodes.answers[2] = [NODE_LOST, None]
    nodes.connected.discard(2)
    assert list(grid.pull_messages([known])) == list(grid.pull_messages([known])) == []
    assert grid.why(known) == "its node was lost"
    nodes.connected.add(2)
    [reply] = grid.pull_messages([known])
    assert not reply.has_error()
    assert reply.metadata.reply_to_message_id == known
    first, second = nodes.sent
    assert second.metadata.message_type == "train.gan"
    assert second.metadata.group_id == "3"
    assert second.content["config"] == first.content["config"]
    assert grid.why(known) == ""


def given_up(nodes: Nodes, grid: ReturningGrid, clock: Clock) -> tuple[str, Message]:
    """A question to a node that is lost and stays away, and the answer that the grid gives for it."""
    [known] = grid.push_messages([question(2)])
    nodes.answers[2] = [NODE_LOST]
    nodes.connected.discard(2)
    assert not grid.pull_messages([known])
    clock.now = 101
    [reply] = grid.pull_messages([known])
    return known, reply


def test_a_node_that_stays_away_costs_its_patience_once(nodes: Nodes, grid: ReturningGrid, clock: Clock) -> None:
    known, reply = given_up(nodes, grid, clock)
    assert reply.error.code == NODE_LOST
    assert "did not return within 100 s" in reply.error.reason
    assert reply.metadata.reply_to_message_id == known
    for _ in range(2):
        [later] = grid.push_messages([question(2)])
        [reply] = grid.pull_messages([later])
        assert (reply.error.reason, reply.metadata.reply_to_message_id) == ("it is not connected", later)
    assert len(nodes.sent) == 1
    nodes.connected.add(2)
    nodes.answers[2] = [None]
    [later] = grid.push_messages([question(2)])
    [reply] = grid.pull_messages([later])
    assert not reply.has_error()


def test_words_of_the_grid_are_not_taken_for_a_sites(nodes: Nodes, grid: ReturningGrid, clock: Clock) -> None:
    _, reply = given_up(nodes, grid, clock)
    assert _reason(reply, "hospital2") == "its node was lost and did not return within 100 s"
    said = Message(Error(NODE_LOST, "hospital2: it is not connected"), reply_to=question(2))
    assert _reason(said, "hospital2") == '"it is not connected"'


def test_a_busy_site_is_asked_again_after_a_while(nodes: Nodes, grid: ReturningGrid, clock: Clock) -> None:
    [known] = grid.push_messages([question(3)])
    nodes.answers[3] = [NOT_NOW]
    assert not grid.pull_messages([known])
    nodes.answers[3] = [None]
    clock.now = 59
    assert not grid.pull_messages([known])
    assert grid.why(known) == '"a reason"'
    clock.now = 60
    [reply] = grid.pull_messages([known])
    assert not reply.has_error()
    assert len(nodes.sent) == 2


def test_a_process_that_dies_twice_is_not_started_a_third_time(nodes: Nodes, grid: ReturningGrid) -> None:
    [known] = grid.push_messages([question(2)])
    nodes.answers[2] = [APP_CRASHED]
    assert not grid.pull_messages([known])
    nodes.answers[2] = [APP_CRASHED]
    [reply] = grid.pull_messages([known])
    assert reply.error.code == APP_CRASHED


def test_other_replies_pass_and_belong_to_their_own_question(nodes: Nodes, grid: ReturningGrid) -> None:
    two, three = (next(iter(grid.push_messages([question(node)]))) for node in (2, 3))
    nodes.answers = {2: [None], 3: [101]}
    replies = {reply.metadata.reply_to_message_id: reply for reply in grid.pull_messages([two, three])}
    assert not replies[two].has_error()
    assert replies[three].error.code == 101


def test_what_was_given_up_is_not_sent_behind_the_callers_back(nodes: Nodes, grid: ReturningGrid) -> None:
    [early] = grid.push_messages([question(2)])
    nodes.answers[2] = [NODE_LOST]
    assert not grid.pull_messages([early])
    [late] = grid.push_messages([question(2)])
    nodes.answers[2] = [None]
    [reply] = grid.pull_messages([late])
    assert reply.metadata.reply_to_message_id == late
    assert len(nodes.sent) == 2


class Named(Nodes):
    """The same nodes, which tell the names that they were registered with."""

    def get_nodes(self) -> list[Any]:
        return [SimpleNamespace(node_id=number, name=f"hospital{number}") for number in self.connected]


def test_a_site_whose_key_was_revoked_is_not_waited_for(clock: Clock) -> None:
    network, revoked = Named(), dict[str, str]()
    grid = ReturningGrid(network, patience=900.0, clock=clock, shut_out=lambda site: revoked.get(site, ""))
    list(grid.get_nodes())
    asked = list(grid.push_messages([question(2), question(3)]))
    assert list(grid.pull_messages(asked)) == []
    # It is at work still, as far as anybody knows.
    revoked["hospital3"] = "its key was revoked"
    (answer,) = grid.pull_messages(asked)
    assert (answer.metadata.reply_to_message_id, answer.error.reason) == (asked[1], "its key was revoked")
    assert list(grid.pull_messages(asked)) == []
    (again,) = grid.push_messages([question(3)])
    (answer,) = grid.pull_messages([again])
    assert answer.error.reason == "its key was revoked"
    assert len(network.sent) == 2


def test_a_node_that_calls_itself_lost_is_not_asked_again(nodes: Nodes, grid: ReturningGrid, clock: Clock) -> None:
    nodes.say_so = {2}
    nodes.answers[2] = [NODE_LOST] * 1000
    [known] = grid.push_messages([question(2)])
    [reply] = grid.pull_messages([known])
    assert (reply.error.code, reply.metadata.reply_to_message_id) == (NODE_LOST, known)
    assert not isinstance(reply.error, OwnError)
    assert len(nodes.sent) == 1


@pytest.mark.parametrize("codes", [[NODE_LOST], [NODE_LOST, APP_CRASHED], [APP_CRASHED, NODE_LOST, NOT_NOW]])
def test_a_node_that_comes_and_goes_is_given_up(
    nodes: Nodes, grid: ReturningGrid, clock: Clock, codes: list[int | None]
) -> None:
    nodes.answers[2] = codes * 1000
    [known] = grid.push_messages([question(2)])
    replies: list[Message] = []
    while not replies and clock.now < 10_000:
        replies = list(grid.pull_messages([known]))
        clock.now += 0.5
    [reply] = replies
    assert reply.metadata.reply_to_message_id == known
    assert len(nodes.sent) <= 2 * (MOST_LOSSES + 1)
    sent = len(nodes.sent)
    assert not list(grid.pull_messages([known]))
    assert len(nodes.sent) == sent


def test_a_node_that_was_lost_for_good_says_so_in_our_words(nodes: Nodes, grid: ReturningGrid) -> None:
    nodes.answers[2] = [NODE_LOST] * (MOST_LOSSES + 1)
    [known] = grid.push_messages([question(2)])
    for _ in range(MOST_LOSSES):
        assert not list(grid.pull_messages([known]))
    [reply] = grid.pull_messages([known])
    assert isinstance(reply.error, OwnError)
    assert _reason(reply, "hospital2") == f"its node was lost {MOST_LOSSES + 1} times"
