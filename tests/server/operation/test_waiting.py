"""Whom a study waits for, why, how long and what then: from its progress, its bounds and the list of sites."""

from datetime import UTC, datetime, timedelta

from common.study.progress import ABSENT, ASKED, Event
from server.operation.connections import SiteConnection
from server.operation.progress_state import progress_state
from server.operation.study_files import Patience
from server.operation.waiting import waiting_lines
from server.provision.registry import Registry, utc_now

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
PATIENCE = Patience(deadline=3600, gathering=600, returning=900, quorum=2)
SITES = ("hospital1", "hospital2", "hospital3")


def event(minutes_ago: float, name: str, /, **values: object) -> Event:
    return Event(name, values, NOW - timedelta(minutes=minutes_ago))


def site(minutes_ago: float, name: str, doing: str, *, at_work: bool = False) -> Event:
    return event(minutes_ago, "site", name=name, doing=doing, at_work=at_work)


def lines(*events: Event, connected: dict[str, SiteConnection], revoked: tuple[str, ...] = ()) -> list[str]:
    registry = Registry(federation="tumours")
    for one in SITES:
        registry.invite(one, "brain", 14, utc_now())
    for one in revoked:
        registry.revoke(one, NOW)
    return waiting_lines(progress_state(events), SITES, PATIENCE, connected, registry.sites, NOW)


def test_at_the_beginning_who_is_away_since_when_and_what_happens_then() -> None:
    told = lines(
        event(4, "began"),
        site(4, "hospital2", ABSENT),
        site(4, "hospital3", ABSENT),
        connected={
            "hospital2": SiteConnection(False, None),
            "hospital3": SiteConnection(False, NOW - timedelta(hours=2)),
        },
    )
    then = "for 6 min more at most (strategy.gathering), then the study begins without it if 2 sites are there"
    assert told == [
        f"waiting for hospital2 to connect: never connected since the server was started; {then} (strategy.quorum)",
        f"waiting for hospital3 to connect: last seen 2 h 0 min ago; {then} (strategy.quorum)",
    ]


def test_who_has_come_or_was_given_up_is_not_waited_for() -> None:
    told = lines(
        event(4, "began"),
        site(4, "hospital2", ABSENT),
        site(4, "hospital3", ABSENT),
        site(3, "hospital3", "it was not connected within 60 s"),
        site(2, "hospital2", ASKED),
        site(1, "hospital2", "answered"),
        connected={},
    )
    assert told == []


def test_in_a_round_how_long_a_lost_site_is_waited_for() -> None:
    told = lines(
        event(30, "began"),
        site(20, "hospital2", ASKED),
        site(4, "hospital2", "its node was lost; it is waited for, 900 s at most", at_work=True),
        connected={"hospital2": SiteConnection(False, NOW - timedelta(minutes=5))},
    )
    assert told == [
        "waiting for hospital2, last seen 5 min ago, its node was lost; it is waited for, 900 s at most, for 11 min "
        "more at most (strategy.returning), deadline in 40 min, then the others go on if they are 2 (strategy.quorum)"
    ]


def test_a_revoked_site_is_named_and_not_waited_for() -> None:
    told = lines(
        event(4, "began"),
        site(4, "hospital2", ABSENT),
        site(4, "hospital3", ASKED),
        connected={},
        revoked=("hospital2", "hospital3"),
    )
    assert told == [
        "hospital2: its key was revoked on 2030-01-31 12:00 UTC; it is not waited for",
        "hospital3: its key was revoked on 2030-01-31 12:00 UTC; it is not waited for",
    ]
