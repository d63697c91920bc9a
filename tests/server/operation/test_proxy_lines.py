"""What the coordinator is told of nginx's lines: whose they are, what they mean, and never more than he can read."""

import sys
from collections.abc import Iterator

import pytest
from outside_texts import OUTSIDE, odd_characters

from server.operation import proxy_lines
from server.operation.proxy_lines import QUIET, Teller, sentence

HANDSHAKE = "2030/01/31 12:00:00 [info] 7#7: *1 SSL_do_handshake() failed (SSL: error:0A000418:SSL routines::"


def text(line: str) -> str:
    found = sentence(line)
    assert found is not None
    return found.text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("200 192.0.2.7 node hospital2 POST /v1/fleet/activate-node", "hospital2 (192.0.2.7): a node has connected"),
        ("200 192.0.2.7 node hospital1 POST /v1/fleet/activate-node", "hospital1 (192.0.2.7): a node has connected"),
        ("200 192.0.2.7 node hospital2 POST /v1/fleet/deactivate-node", "hospital2 (192.0.2.7): a node has signed off"),
        ("404 192.0.2.7 doctor - POST /v1/control/list-runs", "192.0.2.7: a hospital's doctor looked at this server"),
        ("503 192.0.2.7 node - POST /v1/fleet/push-object", "was told to wait: more at once"),
        ("503 192.0.2.7 node - POST /enrol", "was told to wait: more at once"),
        ("502 192.0.2.7 node hospital1 POST /v1/fleet/get-run", "hospital1 (192.0.2.7) was told to wait"),
        ("413 192.0.2.7 node - POST /v1/fleet/get-run", '192.0.2.7: "/v1/fleet/get-run" was answered with 413'),
        ("404 192.0.2.7 node - GET /docs", 'asked for "/docs", which is not open to the outside; refused'),
        ("404 192.0.2.7 node - GET /\x1b[2Jdocs", 'asked for "/ [2Jdocs", which is not open to the outside; refused'),
        ("403 192.0.2.7 node - GET /docs", 'asked for "/docs", which is not open to the outside; refused'),
        (
            "401 192.0.2.7 node - POST /v1/fleet/activate-node",
            "or it was taken for connected still",
        ),
        (
            "412 192.0.2.7 node - POST /v1/fleet/activate-node",
            "or it was taken for connected still",
        ),
        ("nginx: [emerg] bind() to 0.0.0.0:443 failed (13: Permission denied)", "bind()"),
        (f"{HANDSHAKE}tlsv1 alert unknown ca), client: 192.0.2.7, server", "192.0.2.7 broke off: it does not trust"),
        (f"{HANDSHAKE}tlsv1 alert certificate expired), client: 192.0.2.7, server", "renew it"),
        *(
            (
                f"{status} 192.0.2.7 node - POST /v1/fleet/push-object",
                "its key may not connect (not enrolled, revoked, or replaced), or its clock is wrong",
            )
            for status in (400, 403, 495, 496)
        ),
    ],
)
def test_a_line_becomes_a_sentence(line: str, expected: str) -> None:
    assert expected in text(line)


@pytest.mark.parametrize(
    "line",
    [
        "401 203.0.113.9 health - POST /v1/fleet/activate-node",
        "404 203.0.113.9 health - POST /v1/control/start-run",
        "409 192.0.2.7 health hospital2 POST /v1/fleet/push-messages",
        "409 192.0.2.7 doctor hospital2 POST /v1/fleet/push-messages",
        "404 203.0.113.9 doctor - POST /v1/control/start-run",
    ],
)
def test_what_somebody_says_that_he_is_hides_nothing(line: str) -> None:
    assert "refused" in text(line) or "was not let in" in text(line)
    assert "connected" not in text(line).replace("taken for connected still", "")
    assert "doctor" not in text(line)


@pytest.mark.parametrize(
    "line",
    [
        "2030/01/31 12:00:00 [info] 7#7: *1 client 192.0.2.7 closed keepalive connection",
        "403 192.0.2.7 node - POST /enrol",
        "404 127.0.0.1 health - GET /",
        'nginx: [alert] could not open error log file: open() "/var/log/nginx/error.log" failed',
    ],
)
def test_a_line_of_no_interest(line: str) -> None:
    assert sentence(line) is None


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_path_cannot_speak_for_a_site_or_for_the_program(what: str) -> None:
    told: list[str] = []
    for line in (f"404 192.0.2.7 node - GET /{OUTSIDE[what]}", f"500 192.0.2.7 {OUTSIDE[what]} - GET /x"):
        Teller(told.append)(" ".join(line.split("\n")))
    for one in told:
        assert odd_characters(one, also="") == set()
        assert one.startswith("192.0.2.7")
        assert len(one) < 400


def test_the_same_is_told_once_in_a_while_with_how_often_it_came(clock: Clock) -> None:
    told: list[str] = []
    teller = Teller(told.append, clock)
    for path in ("/a", "/b", "/c"):
        teller(f"404 192.0.2.7 node - GET {path}")
    assert told == ['192.0.2.7 asked for "/a", which is not open to the outside; refused']
    clock.now = QUIET - 1
    teller("404 192.0.2.7 node - GET /d")
    assert len(told) == 1
    clock.now = QUIET + 1
    teller("2030/01/31 12:00:00 [info] 7#7: *1 client 192.0.2.9 closed keepalive connection")
    assert told[1:] == [f"{told[0]} (3 times more in 10 minutes)"]
    teller("404 192.0.2.7 node - GET /e")
    assert told[2:] == ['192.0.2.7 asked for "/e", which is not open to the outside; refused']


def floods() -> Iterator[tuple[str, list[str]]]:
    some = range(100_000)
    yield "paths", [f"404 192.0.2.7 node - GET /{n}" for n in some]
    yield "addresses", [f"404 2001:db8::{n:x} node - GET /{n}" for n in some]
    yield "statuses and addresses", [f"{400 + n % 199} 2001:db8::{n:x} node - GET /v1/fleet/{n}" for n in some]
    yield "handshakes", [f"{HANDSHAKE}alert bad certificate), client: 10.0.{n >> 8 & 255}.{n & 255}," for n in some]
    yield (
        "machine",
        [f"2030/01/31 12:00:00 [crit] {n}#7: *{n} accept4() failed (24: Too many files)" for n in some],
    )


@pytest.mark.parametrize(("what", "lines"), floods(), ids=lambda one: one if isinstance(one, str) else "")
def test_a_hundred_thousand_lines_cost_what_each_of_them_costs(
    what: str, lines: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of the interpreter are counted, and what is held; not time, which other programs take part in."""
    told: list[str] = []
    teller = Teller(told.append, clock)

    def steps(some: list[str]) -> int:
        counted = 0

        def count(frame: object, event: str, argument: object) -> object:
            nonlocal counted
            counted += 1
            return count

        sys.settrace(count)  # type: ignore[arg-type]
        try:
            for line in some:
                teller(line)
                clock.now += 0.0005
        finally:
            sys.settrace(None)
        return counted

    first = steps(lines[:1000])
    for line in lines[1000:-1000]:
        teller(line)
        clock.now += 0.0005
    last = steps(lines[-1000:])
    assert last <= 1.5 * first
    assert len(teller._told) <= proxy_lines.MOST_REMEMBERED
    assert sum(len(str(one)) for one in teller._told.items()) < 1000 * proxy_lines.MOST_REMEMBERED
    assert 1 <= len(told) <= 2 * proxy_lines.MOST_A_MINUTE
    assert sum(map(len, told)) < 100_000


def test_a_flood_is_told_of_and_keeps_no_site_from_being_told_of(clock: Clock) -> None:
    told: list[str] = []
    teller = Teller(told.append, clock)
    for n in range(1000):
        teller(f"404 2001:db8::{n:x} node - GET /")
    teller("200 192.0.2.7 node hospital2 POST /v1/fleet/activate-node")
    assert told[-1] == "hospital2 (192.0.2.7): a node has connected"
    clock.now = 61
    teller("404 192.0.2.9 node - GET /")
    assert told[-2:] == [
        f"{1000 - proxy_lines.MOST_A_MINUTE} more events at the proxy were not told one by one",
        '192.0.2.9 asked for "/", which is not open to the outside; refused',
    ]
