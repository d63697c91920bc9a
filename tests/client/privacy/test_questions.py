"""Which test patients are scored, and how many answers leave: no two answers differ in a few patients."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict
from hospital import Hospital
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_study
from tiny import TINY, write_patient
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.privacy import roster
from client.privacy.questions import choose_set, questions_of, require_question, settle_test_set
from client.privacy.roster import Role, role_of
from client.site import Shares, SiteSettings
from common.errors import PrivacyError, RefusalError
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, Instruction, instruction_record, read_result, to_arrays
from common.results.classifier import SiteArms
from common.study.config import compose, to_yaml
from common.study.trials import Trial
from common.system.array_files import write_arrays
from common.training.build import build_classifier_trainer

DP = ("privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2")
STUDY = compose([*TINY, *DP])
PLAIN = compose([*TINY, "study.arms=[real]"])
NAMES = "abcdefghijkl"

members = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["h", "h otherwise", "t", "t otherwise"]), min_size=1)


def apart(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """Patients in one of two sets alone, or seen otherwise."""
    return sum(one.get(name) != other.get(name) for name in {*one, *other})


def far_enough(one: Mapping[str, str], other: Mapping[str, str], least: int) -> bool:
    """Whether no figure of two sets differs by a few: written patient by patient."""
    alone = seen = tumour_alone = tumour_seen = 0
    for name in {*one, *other}:
        tumour = "t" in (one.get(name, "")[:1], other.get(name, "")[:1])
        if name in one and name in other:
            seen += one[name] != other[name]
            tumour_seen += one[name] != other[name] and tumour
        else:
            alone += 1
            tumour_alone += tumour
    return all(count == 0 or count >= least for count in (alone, seen, tumour_alone, tumour_seen))


@given(present=members, earlier=st.lists(members, max_size=4), min_cell=st.integers(1, 6))
@settings(max_examples=400, deadline=None)
def test_a_chosen_set_is_that_of_an_earlier_answer_or_differs_in_enough_patients(
    present: dict[str, str], earlier: list[dict[str, str]], min_cell: int
) -> None:
    chosen = choose_set(present, earlier, min_cell, sorted)
    if chosen is None:
        assert any(not far_enough(present, one, min_cell) for one in earlier)
        return
    assert chosen.items() <= present.items()
    assert chosen
    assert all(far_enough(chosen, one, min_cell) for one in earlier)
    if all(far_enough(present, one, min_cell) for one in earlier):
        assert chosen == present


@given(studies=st.lists(members, min_size=1, max_size=6), cells=st.lists(st.integers(1, 6), min_size=6, max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_two_sets_of_a_history_differ_in_fewer_than_the_hospitals_least(
    studies: list[dict[str, str]], cells: list[int]
) -> None:
    """Whatever the studies' own numbers are: they are never below the hospital's."""
    least, kept = 3, []
    for present, asked in zip(studies, cells, strict=False):
        chosen = choose_set(present, kept, max(least, asked), sorted)
        if chosen is not None and chosen not in kept:
            kept.append(dict(chosen))
    assert all(far_enough(one, other, least) for one, other in combinations(kept, 2))


@given(present=members, min_cell=st.integers(1, 12))
def test_without_a_history_everybody_is_scored(present: dict[str, str], min_cell: int) -> None:
    assert choose_set(present, [], min_cell, sorted) == present
    assert choose_set(present, [present], min_cell, sorted) == present


def test_a_patient_who_is_seen_otherwise_counts_as_one_that_changed() -> None:
    before = dict.fromkeys(NAMES, "")
    four, five = (before | dict.fromkeys(NAMES[:count], "otherwise") for count in (4, 5))
    assert choose_set(five, [before], 5, sorted) == five
    chosen = choose_set(four, [before], 5, sorted)
    assert chosen is not None
    assert chosen != four
    assert apart(chosen, before) >= 5


def test_where_no_set_is_far_enough_none_is_chosen() -> None:
    few = dict.fromkeys("abc", "")
    assert choose_set(dict.fromkeys("ab", ""), [few], 5, sorted) is None
    assert choose_set(few | {"a": "otherwise"}, [few], 5, sorted) is None


def test_an_earlier_set_that_a_stricter_hospital_would_not_have_told_is_not_taken_up_again() -> None:
    ten, seven = dict.fromkeys("abcdefghij", ""), dict.fromkeys("abcdefg", "")
    assert choose_set(seven, [ten, seven], 3, sorted) == seven
    stricter = choose_set(seven, [ten, seven], 5, sorted)
    assert stricter is not None
    assert (apart(stricter, ten), apart(stricter, seven)) == (8, 5)


# A hospital of twelve test patients and two who train.

SHARES = Shares(train=0.2, test=0.8)
KEY = bytes(roster.KEY_BYTES)


def names_by_role(role: Role, count: int) -> list[str]:
    names = [f"case-{number:03d}" for number in range(100)]
    return [name for name in names if role_of(KEY, name, SHARES) is role][:count]


TESTS, TRAINING = names_by_role(Role.TEST, 18), names_by_role(Role.TRAIN, 2)


@pytest.fixture(autouse=True)
def _the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "new_key", lambda: KEY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third patient is healthy; two have no T1."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "cache").mkdir()
    root = folder / "data"
    for index, name in enumerate([*TESTS, *TRAINING]):
        contrasts = ("flair",) if name in TESTS[2:4] else ("flair", "t1")
        write_patient(root, name, tumour=index % 3 != 2, seed=index, contrasts=contrasts)
    return root


def settings_for(folder: Path, tests: Sequence[str] = TESTS[:12], **own: Any) -> dict[str, Any]:
    listed = folder / f"patients-{len(list(folder.glob('patients-*')))}.txt"
    folder.mkdir(exist_ok=True)
    listed.write_text("\n".join([*tests, *TRAINING]))
    privacy = {"epsilon": 50.0, "patients": 4, "shares": SHARES.model_dump(), **own}
    return {"patients": listed, "privacy": privacy}


def session_at(
    folder: Path, data: Path, tests: Sequence[str] = TESTS[:12], study: Any = STUDY, run: str = "run", **own: Any
) -> OpenStudy:
    there: dict[str, Any] = {
        "name": "north",
        "reader": "brats",
        "organ": "brain",
        "folder": folder / "site",
        "threads": 1,
    }
    there |= {"path": data, "cache_dir": data.parent / "cache"}
    return open_study(SiteSettings.model_validate(there | settings_for(folder, tests, **own)), study, run)


def hospital_at(folder: Path, data: Path, tests: Sequence[str] = TESTS[:12], **own: Any) -> Hospital:
    for name in ("data", "cache"):
        if not (folder / name).exists():
            (folder / name).symlink_to(data.parent / name)
    return Hospital(folder, **settings_for(folder, tests, **own))


def count(study: OpenStudy, instruction: Instruction, weights: Any) -> None:
    require_question(study.study, study.work, instruction, weights)


def scored(session: OpenStudy) -> list[str]:
    return [patient.patient for patient in settle_test_set(session.data, told=True).patients]


def changed(*more: str) -> Any:
    return compose([*TINY, *DP, *more])


def test_the_same_study_twice_scores_the_same_patients(tmp_path: Path, data: Path) -> None:
    first = scored(session_at(tmp_path, data))
    assert first == TESTS[:12]
    assert scored(session_at(tmp_path, data, run="another")) == first
    record = json.loads((tmp_path / "site" / "privacy" / "test-patients.json").read_text())
    assert [sorted(one) for one in record["sets"]] == [first]


def test_fewer_than_min_cell_new_patients_wait_and_then_join_together(tmp_path: Path, data: Path) -> None:
    scored(session_at(tmp_path, data, TESTS[:10]))
    assert scored(session_at(tmp_path, data, TESTS[:11], run="two")) == TESTS[:10]
    # Six are there, but only four of them have a tumour.
    assert scored(session_at(tmp_path, data, TESTS[:16], run="three")) == TESTS[:10]
    assert scored(session_at(tmp_path, data, TESTS[:17], run="four")) == TESTS[:17]
    # Whoever joined stays, and another one waits again.
    assert scored(session_at(tmp_path, data, TESTS[:18], run="five")) == TESTS[:17]


def test_a_patient_who_leaves_does_not_leave_alone(tmp_path: Path, data: Path) -> None:
    before = set(scored(session_at(tmp_path, data)))
    left = set(scored(session_at(tmp_path, data, TESTS[1:12], run="another")))
    assert left < before
    assert TESTS[0] not in left
    assert len(before - left) >= 5
    assert sum(TESTS.index(name) % 3 != 2 for name in before - left) == 5  # those with a tumour
    # The same ones are left out the next time.
    assert set(scored(session_at(tmp_path, data, TESTS[1:12], run="third"))) == left
    # When the patient is back, the whole set is asked about as before.
    assert set(scored(session_at(tmp_path, data, run="fourth"))) == before


def test_a_set_is_refused_where_too_few_would_be_left(tmp_path: Path, data: Path) -> None:
    assert scored(session_at(tmp_path, data, TESTS[:4])) == TESTS[:4]
    session = session_at(tmp_path, data, TESTS[:3], run="another")
    with pytest.raises(RefusalError, match="too nearly those of an earlier study") as refusal:
        settle_test_set(session.data, told=True)
    assert not any(name in str(refusal.value) for name in TESTS)


def digests(session: OpenStudy) -> dict[str, bytes]:
    slices = session.data.cohort.slices(session.data.split.test)
    classes = slices.tumour_class()
    return {one.patient: classes[slices.owner == index].tobytes() for index, one in enumerate(slices.patients)}


def test_a_study_that_sees_a_few_slices_otherwise_scores_a_set_well_apart(tmp_path: Path, data: Path) -> None:
    first = session_at(tmp_path, data)
    settle_test_set(first.data, told=True)
    seen = {name: digests(first)[name] for name in TESTS[:12]}
    found: set[str] = set()
    for pixels in (76, 77, 78, 79, 80, 110):
        study = changed(f"organs.brain.min_tumour_pixels={pixels}")
        other = session_at(tmp_path, data, study=study, run=f"pixels-{pixels}")
        now = digests(other)
        few = 0 < sum(now[name] != seen[name] for name in TESTS[:12]) < 5
        try:
            who = {patient.patient for patient in settle_test_set(other.data, told=True).patients}
        except RefusalError:
            found.add("few: refused" if few else "refused")
            continue
        difference = sum(seen[name] != (now[name] if name in who else None) for name in TESTS[:12])
        assert difference == 0 or difference >= 5
        found.add("few: apart" if few else "other")
    assert {"few: apart", "few: refused"} & found
    assert "other" in found


def test_a_refused_question_settles_no_set(tmp_path: Path, data: Path) -> None:
    """Otherwise questions that tell nothing would steer which sets later figures are about."""
    site = hospital_at(tmp_path, data)
    refused = ask(site, STUDY, "demo", "federated/none_of_the_studys", classifier_weights(0))
    assert "no such question" in refused.error.reason
    file = site.settings.privacy_folder() / "test-patients.json"
    assert not file.exists() or json.loads(file.read_text())["sets"] == []


def asked(phase: str, run: str = "run", **more: Any) -> Instruction:
    return Instruction.model_validate({"run": run, "phase": phase, **more})


def some_weights(value: float) -> dict[str, Tensor]:
    return {"network.weight": torch.full((2, 2), value), "network.bias": torch.zeros(2)}


def counted(session: OpenStudy) -> int:
    file = session.study.settings.privacy_folder() / "test-patients.json"
    return sum(map(len, json.loads(file.read_text())["questions"].values()))


@pytest.mark.parametrize(
    "phase", ["federated/blob", "federated", "arms", "cross_site/north", "federated/real/run-2", "gan/cgan"]
)
def test_a_phase_that_the_study_has_not_is_no_question(tmp_path: Path, data: Path, phase: str) -> None:
    with pytest.raises(RefusalError, match="no such question"):
        count(session_at(tmp_path, data), asked(phase), some_weights(1))


def test_a_study_asks_what_its_configuration_says_and_nothing_else() -> None:
    assert questions_of(STUDY, private=True) == [
        "federated/real",
        "federated/real_synthetic",
        "federated/synthetic",
    ]
    few = changed("study.federated_arms=[real]")
    assert questions_of(few, private=True) == ["federated/real"]
    assert questions_of(PLAIN, private=False) == ["federated/real", "arms"]


def test_the_same_weights_may_be_asked_about_again_and_others_not(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data, questions=1)
    for _ in range(3):
        count(session, asked("federated/real"), some_weights(1))
    assert counted(session) == 1
    for other in (
        some_weights(2),
        {**some_weights(1), "more": torch.zeros(1)},
        {"network.weight": torch.full((4,), 1.0), "network.bias": torch.zeros(2)},
        {name: value.double() for name, value in some_weights(1).items()},
    ):
        with pytest.raises(RefusalError, match="another classifier"):
            count(session, asked("federated/real"), other)
    # Also after a restart, and in whatever order the arrays come.
    later = session_at(tmp_path, data, questions=1)
    count(later, asked("federated/real"), dict(reversed(some_weights(1).items())))
    assert counted(later) == 1


def test_all_questions_of_all_runs_count_against_what_the_hospital_allows(tmp_path: Path, data: Path) -> None:
    for number in range(3):
        session = session_at(tmp_path, data, run=f"run-{number}", questions=3)
        count(session, asked("federated/real", f"run-{number}"), some_weights(1))
    assert counted(session) == 3
    for run in ("run-3", "run-0"):
        session = session_at(tmp_path, data, run=run, questions=3)
        with pytest.raises(RefusalError, match="as many questions"):
            count(session, asked("federated/synthetic", run), some_weights(1))
    # What was answered may be answered again, and the hospital may allow more.
    count(session, asked("federated/real", "run-0"), some_weights(1))
    session = session_at(tmp_path, data, run="run-3", questions=4)
    count(session, asked("federated/real", "run-3"), some_weights(1))
    assert counted(session) == 4


def test_a_hospital_may_allow_no_question_at_all(tmp_path: Path, data: Path) -> None:
    with pytest.raises(RefusalError, match="as many questions"):
        count(session_at(tmp_path, data, questions=0), asked("federated/real"), some_weights(1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"sets": []}',
        '{"questions": {}}',
        '{"sets": {}, "questions": {}}',
        '{"sets": ["a"], "questions": {}}',
        '{"sets": [], "questions": []}',
        '{"sets": [], "questions": {"run": 1}}',
        '{"sets": [{"a": ["x"]}], "questions": {}}',
        '{"sets": [], "questions": {"run": {"federated/real": 5}}}',
    ],
)
def test_a_damaged_record_is_refused_and_stays_as_it_is(tmp_path: Path, data: Path, text: str) -> None:
    session = session_at(tmp_path, data)
    settle_test_set(session.data, told=True)
    file = session.study.settings.privacy_folder() / "test-patients.json"
    file.write_text(text)
    for ask_for in (
        lambda: settle_test_set(session.data, told=True),
        lambda: count(session, asked("federated/real"), some_weights(1)),
    ):
        with pytest.raises(PrivacyError, match=r"test-patients\.json"):
            ask_for()
    assert file.read_text() == text


def classifier_weights(value: float, study: Any = STUDY) -> dict[str, Tensor]:
    """A classifier that says of every slice alike: how sure it is of a tumour depends on ``value`` alone."""
    arrays = build_classifier_trainer(
        study, device=torch.device("cpu"), weights=study.weights, total_steps=1
    ).shared_arrays()
    alike = {name: torch.zeros_like(tensor) for name, tensor in arrays.items()}
    last = [name for name, tensor in arrays.items() if name.endswith("bias") and tensor.numel() == 1][-1]
    return alike | {last: torch.full_like(arrays[last], value)}


def ask(
    site: Hospital,
    study: Any,
    run: str,
    phase: str,
    weights: Mapping[str, Tensor] | None,
    action: str = Action.EVALUATE,
) -> Message:
    given = {"run": run, "phase": phase, "experiment": to_yaml(study, leaving=True)}
    if phase.startswith("federated/"):
        given["arm"] = phase.removeprefix("federated/")
    content = RecordDict({CONFIG: instruction_record(Instruction(**given))})
    content[ARRAYS] = to_arrays(weights)
    return site.ask(Action.EVALUATE, content)


def scored_patients(site: Hospital, run: str) -> dict[str, str]:
    """Who stands behind the last answer of a run, with the classes of the slices, by the site's own predictions."""
    file = site.settings.run_folder(run) / "results" / "predictions.csv"
    seen: dict[str, str] = {}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            if (row["arm"], row["scope"]) == ("real", "federated"):
                seen[row["patient"]] = seen.get(row["patient"], "") + row["truth"]
    return seen


def configurations() -> Iterator[tuple[str, ...]]:
    yield ()
    yield "split.train=2", "split.test=8"
    yield "split.train=1", "split.test=13"
    for least in (1, 8, 11):
        yield (f"study.min_cell={least}",)
    for pixels in (76, 77, 78, 79, 80, 82, 110):
        yield (f"organs.brain.min_tumour_pixels={pixels}",)
    yield ("image.min_foreground=0.5",)
    yield ("organs.brain.contrasts=[t1]",)
    yield "seed=7", "study.bootstrap=20"


def test_a_coordinator_that_changes_the_study_gets_no_two_answers_that_differ_in_a_few_patients(
    tmp_path: Path, data: Path
) -> None:
    """Called a tumour, each slice counts: accuracy is the share of tumour slices, of whoever is scored."""
    site = hospital_at(tmp_path, data)
    least = site.settings.min_cell
    answers: list[tuple[float, dict[str, str]]] = []
    refused = 0
    for number, change in enumerate(configurations()):
        run = f"run-{number}"
        study = changed(*change)
        reply = ask(site, study, run, "federated/real", classifier_weights(9.0, study))
        if reply.has_error():
            assert "too nearly" in reply.error.reason
            refused += 1
            continue
        told = read_result(reply.content, SiteArms).arms["model"].value("accuracy")
        if told is not None:
            answers.append((told, scored_patients(site, run)))
    assert len(answers) >= 6
    assert refused + len(answers) > 8
    assert len({told for told, _ in answers}) >= 2  # it did try
    for (one, these), (other, those) in combinations(answers, 2):
        difference = apart(these, those)
        assert difference == 0 or difference >= least
        assert difference or one == other
    assert all(len(patients) >= least for _, patients in answers)


def test_patients_who_come_one_by_one_are_not_found_by_asking_after_each(tmp_path: Path, data: Path) -> None:
    answers: dict[float, set[str]] = {}
    for count in range(10, 19):
        site = hospital_at(tmp_path, data, TESTS[:count])
        reply = ask(site, STUDY, f"run-{count}", "federated/real", classifier_weights(9.0))
        told = read_result(reply.content, SiteArms).arms["model"]["accuracy"].value
        assert told is not None
        answers[told] = set(scored_patients(site, f"run-{count}"))
    assert list(map(len, answers.values())) == [10, 17]


def test_a_renamed_run_is_another_question_and_a_bound_run_asks_each_once(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data, questions=2)
    assert not ask(site, STUDY, "one", "federated/real", classifier_weights(1)).has_error()
    assert not ask(site, STUDY, "one", "federated/real", classifier_weights(1)).has_error()
    other = ask(site, STUDY, "one", "federated/real", classifier_weights(2))
    assert "another classifier" in other.error.reason
    assert not ask(site, STUDY, "two", "federated/real", classifier_weights(2)).has_error()
    third = ask(site, STUDY, "three", "federated/real", classifier_weights(1))
    assert "as many questions" in third.error.reason


def test_classifiers_of_a_site_alone_are_counted_anew_with_other_images_and_in_other_trials(
    tmp_path: Path, data: Path
) -> None:
    """In a study that is not private their figures leave, and the coordinator sends the generator."""
    study = compose([*TINY, "study.ratios=[2.0]"])
    session = session_at(tmp_path, data, study=study, without="allow", questions=3)
    for seed in (1.0, 1.0, 2.0):
        write_arrays(session.work.state / "images" / "synthetic.npz", {"images": np.full(3, seed)})
        for _ in range(2):
            count(session, asked("arms"), None)
    assert counted(session) == 2
    # Under the name of the first trial another is no second time of the same.
    count(session.within(Trial(ratio=2.0)), asked("arms"), None)
    assert counted(session) == 3
    write_arrays(session.work.state / "images" / "synthetic.npz", {"images": np.full(3, 3.0)})
    with pytest.raises(RefusalError, match="as many questions"):
        count(session, asked("arms"), None)


CLASSES = "min_cell is asked of all patients together, not of those with a tumour, who alone stand behind recall"


def test_a_recall_leaves_only_if_enough_patients_with_a_tumour_stand_behind_it(tmp_path: Path, data: Path) -> None:
    healthy = TESTS[2::3]
    assert len(healthy) == 6
    site = hospital_at(tmp_path, data, [TESTS[0], *healthy])
    told = read_result(ask(site, STUDY, "run", "federated/real", classifier_weights(9.0)).content, SiteArms).arms[
        "model"
    ]
    assert told.value("accuracy") is not None
    assert told.value("recall") is None


def test_two_sets_differ_in_enough_patients_with_a_tumour_or_in_none(tmp_path: Path, data: Path) -> None:
    before = set(scored(session_at(tmp_path, data, TESTS[:10])))
    for count, tumours in ((15, 0), (17, 5)):
        after = session_at(tmp_path, data, TESTS[:count], run=f"another-{count}")
        joined = set(scored(after)) - before
        assert sum(tumour for name, tumour in after.data.cohort.tumour_by_patient if name in joined) == tumours
