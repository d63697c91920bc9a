"""What a site answers when it does not do what it was asked."""

from pathlib import Path

import pytest
from hospital import Hospital

from common.errors import NotNowError, RefusalError
from common.protocol.actions import FAILED, NOT_NOW, Action


@pytest.mark.parametrize(("error", "code"), [(NotNowError, NOT_NOW), (RefusalError, FAILED)])
def test_a_site_that_would_do_it_later_says_so_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[RefusalError], code: int
) -> None:
    def refuse(*_: object) -> None:
        raise error("the moon is full")

    monkeypatch.setattr("client.app.require_action", refuse)
    site = Hospital(tmp_path)
    reply = site.ask(Action.HELLO)
    assert (reply.error.code, reply.error.reason) == (code, "hospital1: the moon is full")
    assert site.entries()[-1]["event"] == "refused"
