"""The same patient at two hospitals, found by hashes; and what somebody without the key can make of them."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hospital import Hospital
from pydantic import ValidationError
from tiny import TINY, write_patient, write_site

from client.hello.shared_patients import normalised
from common.errors import StudyError
from common.protocol.actions import Action
from common.protocol.records import (
    CONFIG,
    LEAST_TOKENS,
    MOST_TOKENS,
    PatientTokens,
    SiteHello,
    UnacceptableError,
    read_result,
)
from common.study.config import compose, to_yaml
from server.roster import Member, Roster
from server.shared_patients import require_own_patients, shared_between

KEY = bytes(range(40, 80)).hex()
PRIVATE = to_yaml(compose([*TINY, "privacy=patient_dp"]), leaving=True)


class Said:
    """Stands in for the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def hospital(folder: Path, key: str | None = KEY, **more: Any) -> Hospital:
    folder.mkdir(parents=True, exist_ok=True)
    given = dict(more)
    if key is not None:
        (folder / "key").write_text(key)
        given["shared_patients_key"] = folder / "key"
    return Hospital(folder, **given)


def hello_of(site: Hospital, **instruction: Any) -> SiteHello:
    reply = site.ask(Action.HELLO, **instruction)
    assert not reply.has_error(), reply.error
    return read_result(reply.content, SiteHello)


def tokens_of(site: Hospital, **instruction: Any) -> PatientTokens:
    shared = hello_of(site, **instruction).shared
    assert shared is not None
    return shared


def member(site: str, shared: PatientTokens | None) -> Member:
    values = {"organ": "brain", "modality": "MR", "contrasts": [], "roles": ["train"], "tasks": []}
    return Member(site, 1, SiteHello(site=site, shared=shared, **values))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two hospitals with ten and twelve patients, of whom three are the same persons under IDs written otherwise."""
    root = tmp_path_factory.mktemp("shared")
    first, second = write_site(root / "first", 10, seed=1), write_site(root / "second", 9, seed=2)
    for number, name in enumerate(("CASE-1-00", "Case 1 01", "case_1_02")):
        write_patient(second, name, tumour=True, seed=900 + number)
    return first, second


def test_nothing_is_compared_unless_the_hospital_says_so(tmp_path: Path, data: tuple[Path, Path]) -> None:
    assert hello_of(hospital(tmp_path, key=None, path=data[0])).shared is None


def test_two_hospitals_with_one_key_are_told_apart_by_how_many_they_share(
    tmp_path: Path, data: tuple[Path, Path]
) -> None:
    sites = [hospital(tmp_path / name, path=path) for name, path in zip("ab", data, strict=True)]
    members = [member(f"site-{number}", tokens_of(site)) for number, site in enumerate(sites)]
    assert shared_between(members) == {("site-0", "site-1"): 3}
    with pytest.raises(StudyError, match="site-0 and site-1 share 3 patients") as ended:
        require_own_patients(Roster(tuple(members), {}), Said())  # type: ignore[arg-type]
    assert "shared_patients_key" in str(ended.value)
    assert "case" not in str(ended.value).casefold()


def test_a_key_that_was_copied_wrongly_is_no_silent_none(tmp_path: Path, data: tuple[Path, Path]) -> None:
    keys = (KEY, KEY + "\r\n", KEY[:-1] + "x")
    sites = [hospital(tmp_path / str(n), key=key, path=data[n % 2]) for n, key in enumerate(keys)]
    sent = [tokens_of(site) for site in sites]
    assert sent[0].key == sent[1].key != sent[2].key
    said = Said()
    members = (member("a", sent[0]), member("c", sent[2]))
    require_own_patients(Roster(members, {}), said)  # type: ignore[arg-type]
    assert said.lines == ["a and c: patients compared with nobody's, as no other site has the same shared_patients_key"]


def test_the_coordinator_without_the_key_cannot_tell_whether_an_id_is_in_the_list(
    tmp_path: Path, data: tuple[Path, Path]
) -> None:
    names = [path.name for path in data[0].iterdir()]
    sent = set(tokens_of(hospital(tmp_path / "a", path=data[0])).tokens)
    assert len(sent) == LEAST_TOKENS
    guesses = [*names, *map(normalised, names)]
    wrong = [b"", b"oncofed", bytes(32), hashlib.sha512(KEY.encode()).digest(), KEY[:-1].encode(), b"demo"]
    for key in wrong:
        for run in ("", "demo"):
            for text in guesses:
                for message in (text, f"{run}\x1fpatient\x1f{text}", f"{run}{text}"):
                    assert hmac.new(key, message.encode(), hashlib.sha256).hexdigest()[:16] not in sent
    for text in guesses:
        assert hashlib.sha256(text.encode()).hexdigest()[:16] not in sent
    # Who has the key finds each of them: the attack above is the right one.
    right = {
        hmac.new(KEY.encode(), f"demo\x1fpatient\x1f{normalised(name)}".encode(), hashlib.sha256).hexdigest()[:16]
        for name in names
    }
    assert right <= sent
    other = tokens_of(hospital(tmp_path / "b", key=KEY[::-1], path=data[0]))
    assert not sent & set(other.tokens)


def test_the_length_tells_no_count_and_what_is_asked_again_is_answered_alike(
    tmp_path: Path, data: tuple[Path, Path]
) -> None:
    first, second = (hospital(tmp_path / name, path=path) for name, path in zip("ab", data, strict=True))
    assert len(tokens_of(first).tokens) == len(tokens_of(second).tokens) == 64
    assert tokens_of(first) == tokens_of(first)
    # Another study's list has nothing in common with this one, so that no patient can be followed.
    assert not set(tokens_of(first).tokens) & set(tokens_of(first, run="another").tokens)


def test_no_name_leaves(tmp_path: Path, data: tuple[Path, Path]) -> None:
    reply = hospital(tmp_path, path=data[0]).ask(Action.HELLO)
    assert "case-1" not in str(reply.content[CONFIG]).casefold()
    assert KEY not in str(reply.content[CONFIG])


@pytest.mark.parametrize("how", ["private study", "privacy budget"])
def test_where_answers_are_guarded_no_list_is_sent(how: str, tmp_path: Path, data: tuple[Path, Path]) -> None:
    budget = {"privacy": {"epsilon": 8.0, "patients": 10}} if how == "privacy budget" else {}
    site = hospital(tmp_path, path=data[0], **budget)
    hello = hello_of(site, **({"experiment": PRIVATE} if how == "private study" else {}))
    assert hello.shared is None
    assert any("not compared with other hospitals'" in note for note in hello.notes)


@pytest.mark.parametrize("key", ["", "short", "0" * 64, "ab" * 40, None])
def test_a_key_that_can_be_guessed_or_is_not_there_is_refused(
    key: str | None, tmp_path: Path, data: tuple[Path, Path]
) -> None:
    site = hospital(tmp_path, key=key or "", path=data[0])
    if key is None:
        (tmp_path / "key").unlink()
    reply = site.ask(Action.HELLO)
    assert reply.error.reason == "hospital1: its settings do not fit this study; its own log says why"
    assert "site.yaml: shared_patients_key: " in (site.settings.folder / "log.jsonl").read_text()


def made(count: int) -> list[str]:
    return [f"{number:016x}" for number in range(count)]


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        made(63),
        made(65),
        made(32),
        made(2 * MOST_TOKENS),
        made(64)[::-1],
        [*made(63), made(63)[-1]],
        [*made(63), "x" * 16],
        [*made(63), "f" * 15],
        [*made(63), "F" * 16],
        [*made(63), 7],
        "abc",
        None,
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else str(value),
)
def test_a_list_that_is_malformed_or_too_long_is_refused(tokens: Any, tmp_path: Path, data: tuple[Path, Path]) -> None:
    with pytest.raises(ValidationError):
        PatientTokens(key="0" * 16, tokens=tokens)
    site = hospital(tmp_path, key=None, path=data[0])
    content = site.ask(Action.HELLO).content
    told = json.loads(str(content[CONFIG]["result"]))
    content[CONFIG]["result"] = json.dumps({**told, "shared": {"key": "0" * 16, "tokens": tokens}})
    with pytest.raises(UnacceptableError):
        read_result(content, SiteHello)


def test_the_longest_list_fits_into_an_answer() -> None:
    hello = SiteHello(
        site="a",
        organ="brain",
        modality="MR",
        contrasts=[],
        roles=[],
        tasks=[],
        shared=PatientTokens(key="0" * 16, tokens=made(MOST_TOKENS)),
    )
    assert len(hello.model_dump_json()) < 2_000_000
