"""The hours within which a site works."""

from datetime import datetime
from pathlib import Path

import pytest
from hospital import Hospital

from client.policy.hours import Hours
from client.policy.rules import require_hours
from client.site import load_site
from common.errors import ConfigError, NotNowError
from common.protocol.actions import NOT_NOW, Action
from common.protocol.records import SiteHello, read_result


class Noon(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "Noon":
        return cls(2026, 3, 2, 12, 0)


def test_outside_its_hours_a_site_puts_off_what_trains_or_uses_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.app.datetime", Noon)
    site = Hospital(tmp_path, hours="20:00-06:00")
    hello = read_result(site.ask(Action.HELLO).content, SiteHello)
    assert "it works within its hospital's hours only" in hello.notes
    assert "20" not in hello.model_dump_json()
    assert "gan/cgan" in hello.tasks
    for action in set(Action) - {Action.HELLO, Action.PRIVACY}:
        reply = site.ask(action, phase="gan/cgan", model="cgan")
        assert (reply.error.code, reply.error.reason) == (NOT_NOW, "hospital1: it is outside its hospital's hours")
    reply = site.ask(Action.PRIVACY)
    assert not reply.has_error() or reply.error.code != NOT_NOW


def test_within_its_hours_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.app.datetime", Noon)
    reply = Hospital(tmp_path, hours="12:00-13:00").ask(Action.TRAIN_GAN, phase="gan/cgan", model="cgan")
    assert "no arrays" in reply.error.reason  # it got as far as the training


@pytest.mark.parametrize(
    ("hours", "at", "works"),
    [
        ("20:00-06:00", (19, 59), False),
        ("20:00-06:00", (20, 0), True),
        ("20:00-06:00", (23, 59), True),
        ("20:00-06:00", (0, 0), True),
        ("20:00-06:00", (5, 59), True),
        ("20:00-06:00", (6, 0), False),
        ("08:30-09:30, 12:00-13:00", (9, 0), True),
        ("08:30-09:30,12:00-13:00", (10, 0), False),
        ("08:30-09:30,12:00-13:00", (12, 59), True),
        ("18:00-24:00", (23, 59), True),
        ("18:00-24:00", (0, 0), False),
        ("0:00-24:00", (11, 11), True),
    ],
)
def test_hours_hold_from_their_begin_to_before_their_end(
    tmp_path: Path, hours: str, at: tuple[int, int], works: bool
) -> None:
    now = datetime(2026, 3, 2, *at)
    assert Hours.parse(hours).hold(now.time()) is works
    settings = Hospital(tmp_path, hours=hours).settings
    if works:
        require_hours(settings, Action.TRAIN_GAN, now)
    else:
        with pytest.raises(NotNowError):
            require_hours(settings, Action.TRAIN_GAN, now)


@pytest.mark.parametrize(
    "hours", ["", "night", "25:00-06:00", "20:60-21:00", "20:00", "06:00-06:00", "24:00-06:00", "٢٠:00-06:00"]
)
def test_hours_that_cannot_be_read_are_refused_naming_the_file(tmp_path: Path, hours: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"name: a\nreader: brats\norgan: brain\npath: x\nhours: '{hours}'\n")
    with pytest.raises(ConfigError, match="hours") as error:
        load_site(file)
    assert str(file) in str(error.value)
