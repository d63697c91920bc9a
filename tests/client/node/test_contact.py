"""What counts as contact with a coordinator, and what is tried again."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flwr.supercore.retry import make_simple_http_retry_invoker

from client.node import contact as module
from client.node.contact import Contact, install_contact
from client.node.events import NodeEvent


def client_that(answer: Callable[[], Any]) -> Any:
    """A client class of Flower's kind, with a contact before it; what was told; and the contact."""
    methods = {name: lambda self, request: answer() for name in module._METHODS}
    cls = type("Client", (), methods)
    told: list[tuple[str, str]] = []
    contact = Contact(lambda event: told.append((event.name, event.values["text"])))
    install_contact(contact, cls)
    return cls(), told, contact


class Heard:
    success = True


def refused(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://localhost/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


def test_a_heartbeat_that_is_answered_is_a_contact_and_other_answers_are_none() -> None:
    client, told, contact = client_that(Heard)
    client.PullMessages(None)
    assert contact.last is None
    client.SendNodeHeartbeat(None)
    assert contact.last is not None
    assert told == [(NodeEvent.CONNECTED, ""), (NodeEvent.CONTACT, "")]


def test_one_that_is_not_is_none() -> None:
    def answer() -> None:
        raise httpx.ConnectError("no way there")

    client, told, contact = client_that(answer)
    with pytest.raises(httpx.ConnectError):
        client.SendNodeHeartbeat(None)
    assert contact.last is None
    assert told == [(NodeEvent.UNREACHABLE, "network")]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_crowded_server_is_asked_again_by_flower_itself(status: int) -> None:
    failures = [refused(status), refused(status)]

    def answer() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    client, told, _ = client_that(answer)
    retry = make_simple_http_retry_invoker()
    retry.jitter = lambda _: 0.0
    assert retry.invoke(client.PushMessages, None) == "answer"
    assert [event for event, _ in told] == [NodeEvent.UNREACHABLE, NodeEvent.UNREACHABLE, NodeEvent.CONNECTED]


@pytest.mark.parametrize("status", [429, 500])
def test_but_not_for_ever(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    def answer() -> None:
        raise refused(status)

    client, told, _ = client_that(answer)
    retry = make_simple_http_retry_invoker()
    with pytest.raises(httpx.HTTPStatusError):
        retry.invoke(client.PushMessages, None)
    assert [event for event, _ in told] == [NodeEvent.FAILED]
