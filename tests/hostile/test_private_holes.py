"""Ways round a hospital's privacy that were open once: each test is the attack that found it."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord
from hospital import Hospital
from opening import open_study
from private_coordinator import PLAIN, STUDY, HostileCoordinator, changed, weights
from tiny import write_patient, write_site
from tiny_images import write_image_site
from torch import nn

from client.privacy.gradients import PrivateStep
from client.privacy.ledger import Ledger
from client.privacy.patients import Drawn
from client.privacy.randomness import PrivateRandom
from common.errors import ConfigError
from common.metrics.bootstrap import patient_weights
from common.protocol.actions import Action
from common.protocol.records import CONFIG, to_arrays
from common.seeding import derive_seed
from common.study.config import from_yaml
from common.training.patients import PatientUpdate

BUDGET = {"epsilon": 1000.0, "patients": 10, "shares": {"train": 0.4, "test": 0.6}}
TUMOUR = "organs__brain__min_tumour_pixels"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("patients") / "data", 10, seed=1)


def at(folder: Path, data: Path, **settings: Any) -> HostileCoordinator:
    given = {"path": data, "cache_dir": data.parent / "cache", "privacy": BUDGET, **settings}
    return HostileCoordinator(Hospital(folder, **given))


@dataclass(frozen=True)
class Neighbours:
    """Two hospitals that differ in one training patient, whose largest lesion no other training patient reaches.

    Attributes:
        present, absent: with that patient and without.
        lesion: pixels of that lesion on its largest slice.
    """

    present: HostileCoordinator
    absent: HostileCoordinator
    lesion: int

    def both(self, action: Action, run: str, arrays: ArrayRecord | None = None, **changes: Any) -> tuple[Any, Any]:
        asked = {"run": run, **changes}
        one, other = (told(site.ask(action, arrays, **asked)) for site in (self.present, self.absent))
        return one, other


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Neighbours:
    return make_neighbours(tmp_path_factory.mktemp("neighbours"), data)


def make_neighbours(folder: Path, data: Path, **settings: Any) -> Neighbours:
    present = at(folder / "present", data, **settings)
    sizes = largest_lesions(present, "train")
    second, first = sorted(sizes, key=lambda name: sizes[name])[-2:]
    assert sizes[second] < sizes[first]
    (folder / "absent").mkdir()
    # Called as the patients' folder is: beside a hospital lies nothing else.
    listed = folder / "absent" / "data"
    listed.write_text("\n".join(sorted(path.name for path in data.iterdir() if path.name != first)))
    return Neighbours(present, at(folder / "absent", data, patients=listed, **settings), sizes[first])


def largest_lesions(coordinator: HostileCoordinator, part: str) -> dict[str, int]:
    """Pixels of the largest lesion on a slice, by patient."""
    session = open_study(coordinator.site.settings, STUDY, "looked-at")
    slices = session.data.cohort.slices(getattr(session.data.split, part))
    return {one.patient: int((one.labels > 0).sum((1, 2)).max()) for one in slices.patients}


def told(reply: Any) -> object:
    """All that an answer without weights says."""
    if reply.has_error():
        return reply.error.reason
    record = reply.content[CONFIG]
    return json.loads(record["result"]) if "result" in record else "done"


def figure(reply: Any, metric: str) -> dict[str, Any]:
    """What was told of the one model; empty if nothing was."""
    answer: Any = told(reply)
    found = (one for one in answer["arms"]["model"]["figures"] if (one["metric"], one["against"]) == (metric, ""))
    return next(found, {})


def test_a_hello_without_privacy_says_nothing_of_training_patients(neighbours: Neighbours) -> None:
    asked = {"experiment": changed(PLAIN, **{TUMOUR: neighbours.lesion}), "phase": "hello"}
    present, absent = neighbours.both(Action.HELLO, "plain-hello", **asked)
    assert present == absent


def test_a_hello_without_privacy_counts_no_training_patients(data: Path, tmp_path: Path) -> None:
    pair = make_neighbours(tmp_path, data, declare_counts=True)
    asked = {"experiment": changed(PLAIN), "phase": "hello"}
    present, absent = pair.both(Action.HELLO, "plain-hello", **asked)
    assert present["examples"] == absent["examples"]


def test_whether_local_arms_fail_says_nothing_of_training_patients(neighbours: Neighbours) -> None:
    asked = {"experiment": changed(STUDY, **{TUMOUR: neighbours.lesion}), "phase": "arms"}
    present, absent = neighbours.both(Action.ARMS, "private-arms", **asked)
    assert present == absent


def test_whether_synthesis_fails_says_nothing_of_training_patients(neighbours: Neighbours) -> None:
    asked = {"experiment": changed(STUDY, **{TUMOUR: neighbours.lesion}), "phase": "synthesis", "model": "cgan"}
    present, absent = neighbours.both(Action.SYNTHESISE, "private-synthesis", weights("cgan"), **asked)
    assert present == absent


@pytest.mark.parametrize("arm", ["real"])
def test_whether_a_paid_round_fails_says_nothing_of_training_patients(neighbours: Neighbours, arm: str) -> None:
    text = changed(STUDY, **{TUMOUR: neighbours.lesion})
    replies = [
        site.ask(
            Action.TRAIN_CLASSIFIER,
            weights("classifier"),
            run="paid",
            experiment=text,
            phase=f"classifier/{arm}",
            arm=arm,
        )
        for site in (neighbours.present, neighbours.absent)
    ]
    assert [reply.has_error() for reply in replies] == [False, False]


def test_a_private_hello_says_nothing_of_a_single_test_patient(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    largest = max(largest_lesions(coordinator, "test").values())
    said = [
        told(coordinator.ask(Action.HELLO, run=f"h-{least}", experiment=changed(STUDY, **{TUMOUR: least}), phase="x"))
        for least in (largest, largest + 1)
    ]
    assert said[0] == said[1]


def test_a_hello_does_not_count_test_patients(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    said = [
        told(coordinator.ask(Action.HELLO, run=f"h-{n}", experiment=changed(STUDY, study__min_cell=n), phase="x"))
        for n in (6, 7)
    ]
    assert said[0] == said[1]


def test_two_answers_are_not_about_sets_that_differ_in_one_person(tmp_path: Path) -> None:
    patients = tmp_path / "patients" / "data"
    for number in range(10):
        # The third of the test patients has no T1.
        contrasts = ("flair",) if number == 2 else ("flair", "t1")
        write_patient(patients, f"case-1-{number:02d}", tumour=True, seed=1000 + number, contrasts=contrasts)
    coordinator = at(tmp_path / "site", patients)
    scored = []
    for run, keys in {
        "everybody": {TUMOUR: 4},
        "one-less": {TUMOUR: 100, "organs__brain__contrasts": ["t1"]},
    }.items():
        asked = {"run": run, "experiment": changed(STUDY, **keys), "phase": "federated/real", "arm": "real"}
        reply = coordinator.ask(Action.EVALUATE, weights("classifier"), **asked)
        if not reply.has_error():
            scored.append(set(by_patient(coordinator, run)))
    assert len(scored) == 1 or not 0 < len(scored[0] ^ scored[1]) < coordinator.site.settings.min_cell


def test_a_hostile_study_does_not_end_the_figures_of_honest_ones(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    for least in (80, 90):
        coordinator.ask(Action.ARMS, run=f"hostile-{least}", experiment=changed(STUDY, **{TUMOUR: least}), phase="arms")
    asked = {"run": "honest", "phase": "federated/real", "arm": "real"}
    reply = coordinator.ask(Action.EVALUATE, weights("classifier"), **asked)
    assert not reply.has_error(), told(reply)
    assert figure(reply, "accuracy")["value"] is not None


def test_what_a_private_hello_offers_says_nothing_of_one_training_patient(tmp_path: Path) -> None:
    patients = tmp_path / "patients" / "data"
    for number in range(10):
        # The third trains, by the roster of the tests, and is the only one of those to have a T1.
        contrasts = ("flair",) if number in (4, 6, 8) else ("flair", "t1")
        write_patient(patients, f"case-1-{number:02d}", tumour=True, seed=1000 + number, contrasts=contrasts)
    wgan = {**STUDY.models["wgan_gp"], "domains": [{"organ": "brain", "contrasts": ["t1"]}]}
    asked = {"run": "offers", "experiment": changed(STUDY, models__wgan_gp=wgan), "phase": "hello"}
    said = []
    for name, absent in (("present", ""), ("absent", "case-1-03")):
        (tmp_path / name).mkdir()
        listed = tmp_path / name / "data"
        listed.write_text("\n".join(sorted(path.name for path in patients.iterdir() if path.name != absent)))
        coordinator = at(tmp_path / name, patients, patients=listed, contrasts=["flair", "t1"])
        said.append(told(coordinator.ask(Action.HELLO, **asked)))
    assert said[0] == said[1]


def test_an_interval_is_no_figure_of_a_single_patient(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    patients = 6
    seed, drawn = next(
        (seed, rows)
        for seed in range(100_000)
        for rows in [patient_weights(patients, 2, derive_seed(seed, "hospital1", "bootstrap"))]
        if rows.max() == patients
    )
    alone = int(drawn.max(0).argmax())
    text = changed(STUDY, seed=seed, study__bootstrap=2)
    asked = {"run": "resampled", "experiment": text, "phase": "federated/real", "arm": "real"}
    brier = figure(coordinator.ask(Action.EVALUATE, weights("classifier"), **asked), "brier")
    spread = 0.025 * (brier["high"] - brier["low"]) / 0.95
    ends = brier["low"] - spread, brier["high"] + spread
    own = list(by_patient(coordinator, "resampled").values())[alone]
    truth = float(np.mean([(probability - positive) ** 2 for positive, probability in own]))
    assert min(abs(end - truth) for end in ends) > 1e-6


def by_patient(coordinator: HostileCoordinator, run: str) -> dict[str, list[tuple[int, float]]]:
    """Truth and probability of each slice, as the site kept them."""
    found: dict[str, list[tuple[int, float]]] = {}
    with (coordinator.site.settings.run_folder(run) / "results" / "predictions.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["patient"], []).append((int(row["truth"]), float(row["probability"])))
    return dict(sorted(found.items()))


def test_precision_is_no_figure_of_a_single_patient(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    # By public images, or by bisection at a question a step; here by a look at what the site kept.
    sent = weights("classifier")
    asked = {"phase": "federated/real", "arm": "real"}
    assert told(coordinator.ask(Action.EVALUATE, sent, run="first", **asked))
    highest = sorted(max(p for _, p in slices) for slices in by_patient(coordinator, "first").values())
    logits = np.log(np.array(highest[-2:]) / (1 - np.array(highest[-2:])))
    (bias,) = (name for name, array in sent.items() if name.endswith("bias") and tuple(array.shape) == (1,))
    arrays = {name: torch.from_numpy(np.array(array.numpy())) for name, array in sent.items()}
    arrays[bias] = arrays[bias] - float(logits.mean())
    reply = coordinator.ask(Action.EVALUATE, to_arrays(arrays), run="second", **asked)
    called = [name for name, own in by_patient(coordinator, "second").items() if max(p for _, p in own) >= 0.5]
    assert len(called) == 1
    assert figure(reply, "precision") == {}
    assert figure(reply, "accuracy")["value"] is not None


def test_figures_of_images_that_name_no_patients_stay(tmp_path: Path) -> None:
    images = write_image_site(tmp_path / "images" / "data", 6, seed=2, named=False)
    given = {"reader": "image_folder", "options": {"tumour_classes": ["tumour"]}}
    (tmp_path / "site").mkdir()
    coordinator = at(tmp_path / "site", images, **given)
    asked = {"phase": "federated/real", "arm": "real", "run": "unknown", "experiment": changed(STUDY)}
    reply = coordinator.ask(Action.EVALUATE, weights("classifier"), **asked)
    assert reply.has_error() or figure(reply, "accuracy") == {}


def test_a_classifier_that_answers_one_patient_with_no_number_does_not_fail(data: Path, tmp_path: Path) -> None:
    """Whether it fails would tell whether that patient is among those who test: unpaid, however noised the figures."""
    for number, study in enumerate((changed(STUDY), changed(STUDY, privacy__scores="noised"))):
        (tmp_path / str(number)).mkdir()
        coordinator = at(tmp_path / str(number), data)
        sent = weights("classifier")
        arrays = {name: torch.from_numpy(np.array(array.numpy())) for name, array in sent.items()}
        (head,) = (name for name, array in arrays.items() if array.ndim == 2)
        largest = torch.finfo(torch.float32).max
        arrays[head] = torch.where(torch.arange(arrays[head].numel()) % 2 == 0, largest, -largest).view_as(arrays[head])
        asked = {"run": "run", "experiment": study, "phase": "federated/real", "arm": "real"}
        reply = coordinator.ask(Action.EVALUATE, to_arrays(arrays), **asked)
        assert not reply.has_error(), told(reply)


def test_slices_that_look_alike_are_no_reason_to_refuse_a_plain_study(neighbours: Neighbours) -> None:
    """With a window of its own a coordinator chooses whose slices look alike."""
    black = changed(PLAIN, organs__brain__steps__window=[1e6, 2e6])
    asked = {"experiment": black, "phase": "federated/real", "arm": "real"}
    present, absent = neighbours.both(Action.EVALUATE, "black", weights("classifier"), **asked)
    assert "train and test" not in str(present)
    assert "train and test" not in str(absent)


def test_local_arms_answer_alike_whatever_was_told_of_test_patients(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    asked = {"run": "honest", "phase": "federated/real", "arm": "real"}
    assert not coordinator.ask(Action.EVALUATE, weights("classifier"), **asked).has_error()
    for least in (60, 70, 80, 90, 100):
        study = changed(STUDY, **{TUMOUR: least})
        reply = coordinator.ask(Action.ARMS, run=f"arms-{least}", experiment=study, phase="arms")
        assert not reply.has_error(), told(reply)


@pytest.mark.parametrize(
    ("key", "value"), [("models__cgan__runs", 10**9), ("privacy__slices_per_patient", 10**6)], ids=["runs", "slices"]
)
def test_a_number_without_end_is_refused_at_once(key: str, value: int) -> None:
    text = changed(STUDY, **{key: value})
    with pytest.raises(ConfigError):
        from_yaml(text)


@dataclass(frozen=True)
class Batch:
    values: torch.Tensor


def test_a_patient_adds_no_more_than_the_bound_with_millions_of_weights() -> None:
    network = nn.ParameterDict({"weight": nn.Parameter(torch.zeros(5_000_000))})
    direction = torch.full((5_000_000,), 2.3e-4)
    direction[:8] = 1.0
    update = PatientUpdate("one", {"network": network}, lambda batch: (network["weight"] * batch.values).sum())
    seen: list[dict[str, torch.Tensor]] = []
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    noise = PrivateRandom().stream("noise")
    step = PrivateStep(optimiser, update, sigma=1.0, max_grad_norm=1.0, expected=1, noise=noise, watch=seen.append)
    step.take([Drawn(Batch(direction[None]), 0)])
    (added,) = seen[0].values()
    assert float(added.double().norm()) <= 1.001


@pytest.fixture
def one_holds_t1(tmp_path: Path) -> tuple[HostileCoordinator, HostileCoordinator]:
    """Neighbours: of the training patients only one holds T1, and the second hospital lacks that one."""
    patients = tmp_path / "patients" / "data"
    for number in range(10):
        write_patient(patients, f"case-1-{number:02d}", tumour=True, seed=1000 + number, contrasts=("flair",))
    (tmp_path / "present").mkdir()
    (tmp_path / "absent").mkdir()
    looked_at = at(tmp_path / "present", patients)
    one = open_study(looked_at.site.settings, from_yaml(changed(STUDY)), ".local").data.split.train[0]
    shutil.rmtree(patients / one)
    write_patient(patients, one, tumour=True, seed=1, contrasts=("flair", "t1"))
    listed = tmp_path / "absent" / "data"
    listed.write_text("\n".join(sorted(path.name for path in patients.iterdir() if path.name != one)))
    return at(tmp_path / "present", patients), at(tmp_path / "absent", patients, patients=listed)


@pytest.mark.parametrize("study", [STUDY, PLAIN], ids=["private", "plain"])
def test_a_hello_does_not_tell_whether_one_patient_holds_a_contrast(
    one_holds_t1: tuple[HostileCoordinator, HostileCoordinator], study: Any
) -> None:
    text = changed(study, organs__brain__contrasts=["t1"])
    said = [told(site.ask(Action.HELLO, run="t1", experiment=text, phase="hello")) for site in one_holds_t1]
    assert said[0] == said[1]


def test_a_study_in_which_nobody_trains_decides_no_roles(
    one_holds_t1: tuple[HostileCoordinator, HostileCoordinator],
) -> None:
    """Its run says that nobody trained; one that did not say whom would make everybody count as trained."""
    text = changed(STUDY, organs__brain__contrasts=["t1"])
    for site in one_holds_t1:
        asked = {"run": "t1", "experiment": text, "phase": "classifier/real", "arm": "real", "server-round": 1}
        site.site.ask(Action.HELLO, run="t1", experiment=text, phase="hello")
        reply = site.ask(Action.TRAIN_CLASSIFIER, weights("classifier"), **asked)
        assert not reply.has_error(), told(reply)
        site.site.ask(Action.HELLO, run="honest", experiment=changed(STUDY), phase="hello")
    roles = [json.loads((s.site.settings.privacy_folder() / "roster.json").read_text())["roles"] for s in one_holds_t1]
    assert {name: role for name, role in roles[0].items() if name in roles[1]} == roles[1]
    assert list(roles[1].values()).count("test") == 6


def test_that_there_are_no_test_patients_is_no_free_answer(
    one_holds_t1: tuple[HostileCoordinator, HostileCoordinator],
) -> None:
    text = changed(STUDY, organs__brain__contrasts=["t1"], privacy__scores="noised")
    site = one_holds_t1[1]
    asked = {"run": "t1", "experiment": text, "phase": "federated/real", "arm": "real"}
    before = len(Ledger(site.site.settings.ledger_files(), "hospital1").entries())
    reply = site.ask(Action.EVALUATE, weights("classifier"), **asked)
    assert not reply.has_error(), told(reply)
    assert len(Ledger(site.site.settings.ledger_files(), "hospital1").entries()) == before + 1


def test_one_question_is_not_asked_under_the_name_of_another(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    asked = {"run": "run", "experiment": changed(STUDY), "phase": "federated/synthetic"}
    assert not coordinator.ask(Action.EVALUATE, weights("classifier"), arm="synthetic", **asked).has_error()
    reply = coordinator.ask(Action.EVALUATE, weights("classifier"), arm="real", **asked)
    assert "under the name of another" in str(told(reply))
