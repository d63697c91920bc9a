"""What the record says of each study."""

from client.node.status import studies_seen


def asked(message: str, run: str, action: str, number: int) -> dict[str, object]:
    return {
        "event": "asked",
        "time": f"2030-01-31T12:00:0{number}Z",
        "message": message,
        "run": run,
        "action": action,
        "phase": "gan/cgan",
        "round": number,
    }


def test_studies_with_their_outcomes_the_newest_last() -> None:
    entries = [
        {"event": "node started", "time": "2030-01-31T12:00:00Z"},
        asked("1", "old", "train.gan", 1),
        {"event": "answered", "message": "1"},
        asked("2", "new", "train.gan", 1),
        {"event": "refused", "message": "2", "reason": "no"},
        asked("3", "old", "train.gan", 2),
        {"event": "failed", "message": "3"},
        asked("4", "new", "train.gan", 2),
        {"event": "answered", "message": "unknown"},
    ]
    old, new = studies_seen(entries)
    assert (old.run, old.answered, old.refused, old.failed, old.working) == ("old", 1, 0, 1, False)
    assert (new.run, new.answered, new.refused, new.failed, new.working) == ("new", 0, 1, 0, True)
    assert new.doing == "train.gan, gan/cgan, round 2"
