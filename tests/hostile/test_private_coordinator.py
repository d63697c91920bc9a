"""A hostile coordinator over the real ClientApp of a hospital with a privacy budget: refused, or paid for.

After every message :class:`private_coordinator.HostileCoordinator` looks at the reply, the ledger, the disk and the
roster. One site answers all single messages, each in a run of its own, so that what one left behind would show later.
"""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from flwr.app import Array, ArrayRecord
from hospital import Hospital
from private_coordinator import (
    PLAIN,
    PLAIN_TEXT,
    PRIVATE_TEXT,
    STUDY,
    HostileCoordinator,
    changed,
    filled,
    names_below,
    scaled,
    weights,
)
from tiny import write_site
from tiny_images import write_image_site

from client.privacy.budget import Budget
from client.privacy.ledger import Ledger
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, IMAGES, to_arrays
from common.study.config import from_yaml
from common.training.build import build_gan_trainer

BUDGET = {"epsilon": 1000.0, "patients": 10, "shares": {"train": 0.4, "test": 0.6}}
OPEN = {"share_site_model": True, "may_release_synthetic": True}
"""A hospital that allows all it can, so that what is refused is refused for privacy alone."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("patients") / "data", 10, seed=1)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory, data: Path) -> HostileCoordinator:
    torch.set_num_threads(1)
    return at(tmp_path_factory.mktemp("private"), data, privacy=BUDGET)


@pytest.fixture(autouse=True)
def nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, data: Path
) -> Iterator[None]:
    """Runs a test in an empty folder; nothing may be written there, nor among the patients."""
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    before = names_below(data)
    yield
    assert names_below(here) == frozenset()
    assert names_below(data) == before


def at(folder: Path, data: Path, **settings: Any) -> HostileCoordinator:
    """A coordinator before a hospital of its own; slices are prepared once for all of them."""
    given = {**OPEN, "path": data, "cache_dir": data.parent / "cache", **settings}
    return HostileCoordinator(Hospital(folder, **given))


@dataclass(frozen=True)
class Attempt:
    """One message.

    Attributes:
        action: what is asked.
        says: part of the reason for which it is refused; empty: it is answered, and the hospital is none the worse.
        arrays: that come with it.
        experiment: the study's YAML.
        changes: other keys of the instruction.
    """

    action: Action
    says: str = ""
    arrays: ArrayRecord | None = None
    experiment: str = PRIVATE_TEXT
    changes: dict[str, Any] = field(default_factory=dict)


def gan(says: str = "", experiment: str = PRIVATE_TEXT, *, of: ArrayRecord | None = None, **changes: Any) -> Attempt:
    """A round of the cGAN."""
    asked = {"phase": "gan/cgan", "model": "cgan", **changes}
    return Attempt(Action.TRAIN_GAN, says, of if of is not None else weights("cgan"), experiment, asked)


def classifier(says: str = "", experiment: str = PRIVATE_TEXT, **changes: Any) -> Attempt:
    """A round of the classifier of real slices."""
    asked = {"phase": "classifier/real", "arm": "real", **changes}
    return Attempt(Action.TRAIN_CLASSIFIER, says, weights("classifier"), experiment, asked)


def evaluate(
    says: str = "", experiment: str = PRIVATE_TEXT, *, of: ArrayRecord | None = None, **changes: Any
) -> Attempt:
    """The figures of a classifier."""
    asked = {"phase": "federated/real", "arm": "real", **changes}
    return Attempt(Action.EVALUATE, says, of if of is not None else weights("classifier"), experiment, asked)


def named(record: ArrayRecord, name: str, array: np.ndarray) -> ArrayRecord:
    return ArrayRecord({**record, name: Array(array)})


CYCLE = {
    "family": "cyclegan",
    "width": 4,
    "blocks": 1,
    "discriminator_width": 4,
    "min_slices": 1,
    "pool": 0,
    "spectral_norm": False,
    "diffaugment": "",
    "proxy_model": "wgan_gp",
    "proxy_slices": 4,
    "federation": {"rounds": 2, "local_steps": 2},
    "domains": [{"organ": "brain", "contrasts": ["flair"]}, {"organ": "lung", "contrasts": ["ct"]}],
}


def cyclic(**keys: Any) -> str:
    return changed(STUDY, organs__lung={"contrasts": ["ct"]}, models__cyclegan={**CYCLE, **keys})


ONLY_PRIVATE = "it trains with differential privacy only"
UNFIT = "the study's configuration does not fit this release"
OTHER_NAME = "under the name of another one"
NO_TRIAL = "the study has no such trial"
NO_QUESTION = "no such question about test patients"
MIXING = "it trains no arm whose images mix patients"

ATTEMPTS: dict[str, Attempt] = {
    # Modes: the coordinator says that nothing is private.
    "plain gan": gan(ONLY_PRIVATE, PLAIN_TEXT),
    "plain classifier": classifier(ONLY_PRIVATE, PLAIN_TEXT),
    "plain synthesis": Attempt(
        Action.SYNTHESISE, ONLY_PRIVATE, weights("cgan"), PLAIN_TEXT, {"phase": "synthesis", "model": "cgan"}
    ),
    "plain arms": Attempt(Action.ARMS, ONLY_PRIVATE, None, PLAIN_TEXT, {"phase": "arms"}),
    "plain site model": Attempt(Action.SITE_MODEL, ONLY_PRIVATE, None, PLAIN_TEXT, {"phase": "site_model"}),
    "plain fold": classifier(ONLY_PRIVATE, changed(PLAIN, study__folds=2), fold=1),
    "plain statement": Attempt(Action.PRIVACY, "nothing to state", None, PLAIN_TEXT, {"phase": "privacy"}),
    "another mode": gan(UNFIT, changed(STUDY, privacy__mode="patient")),
    "mode in capitals": gan(UNFIT, changed(STUDY, privacy__mode="PATIENT_DP")),
    "private site model": Attempt(
        Action.SITE_MODEL, "it does not answer this in a private study", None, changes={"phase": "site_model"}
    ),
    # Exchanges.
    "cyclegan without an exchange": gan(
        "was not given the synthetic slices", cyclic(), model="cyclegan", phase="gan/cyclegan"
    ),
    "cyclegan with gradients": gan(UNFIT, cyclic(exchange="gradients"), model="cyclegan", phase="gan/cyclegan"),
    "cyclegan with another exchange": gan(
        "does not fit", cyclic(exchange="raw"), model="cyclegan", phase="gan/cyclegan"
    ),
    "cyclegan with the default pool": gan(UNFIT, cyclic(exchange="proxies", pool=50), model="cgan"),
    "cgan of defaults": gan(UNFIT, changed(STUDY, models__cgan__spectral_norm=True)),
    "diffaugment": gan(UNFIT, changed(STUDY, models__cgan__diffaugment="translation")),
    "proxies that were not sent": gan(
        "was not given the synthetic slices", cyclic(exchange="proxies"), model="cyclegan", phase="gan/cyclegan"
    ),
    # Phases, models and arms that do not fit each other.
    "cgan as wgan_gp": gan(OTHER_NAME, phase="gan/wgan_gp"),
    "cgan as a classifier": gan(OTHER_NAME, phase="classifier/real"),
    "classifier as a gan": classifier(OTHER_NAME, phase="gan/cgan", model="cgan"),
    "classifier as another arm": classifier(OTHER_NAME, phase="classifier/synthetic"),
    "classifier as scores": classifier(OTHER_NAME, phase="scores/federated/real"),
    "gan with an arm": gan(arm="real"),
    "second run": gan(NO_TRIAL, repeat=2, phase="gan/cgan/run-2"),
    "first run as the second": gan(OTHER_NAME, changed(STUDY, models__cgan__runs=2), phase="gan/cgan/run-2"),
    "second run that is there": gan("", changed(STUDY, models__cgan__runs=2), repeat=2, phase="gan/cgan/run-2"),
    "fold": classifier(NO_TRIAL, fold=1),
    "fewer patients": classifier(NO_TRIAL, patients=4),
    "another ratio": classifier(NO_TRIAL, ratio=0.5),
    "another gan's images": classifier(NO_TRIAL, images="wgan_gp"),
    "no model": gan("do not fit this study", model=""),
    "unknown model": gan("do not fit this study", model="other", phase="gan/other"),
    "unknown arm": classifier(MIXING, arm="other", phase="classifier/other"),
    "copy_paste": classifier(MIXING, arm="copy_paste", phase="classifier/copy_paste"),
    "blob": classifier(MIXING, changed(STUDY, study__arms=["real", "blob"]), arm="blob", phase="classifier/blob"),
    "local_generator": classifier(
        MIXING,
        changed(STUDY, study__arms=["real", "local_generator"]),
        arm="local_generator",
        phase="classifier/local_generator",
    ),
    "synthetic images that are not there": classifier(
        "has not made its synthetic images yet", arm="synthetic", phase="classifier/synthetic"
    ),
    "arm that was not announced": classifier("had not announced", changed(STUDY, study__arms=["synthetic"])),
    "federated arms that mix": gan(UNFIT, changed(STUDY, study__federated_arms=["real", "blob"])),
    "a round far beyond": gan(**{"server-round": 10_000_000}),
    # Repetitions that a private study has not.
    **{
        f"private {key}": gan(UNFIT, changed(STUDY, **{f"study__{key}": value}))
        for key, value in {"folds": 3, "curve": [2, 3], "ratios": [0.5], "most_patients": 3, "runs": 2}.items()
    },
    # Weights.
    # Refused after the noise, by what came of it: paid for as an answer is.
    "weights that are no numbers": gan("not finite", of=filled(weights("cgan"), float("nan"))),
    "infinite weights": gan("not finite", of=filled(weights("cgan"), float("inf"))),
    "huge weights": gan(of=filled(weights("cgan"), 1e38)),
    "exploding gradients": gan(of=scaled(weights("cgan"), 1e4)),
    "vanishing weights": gan(of=filled(weights("cgan"), 1e-40)),
    "weights of another network": gan("it failed", of=weights("classifier")),
    "one array more": gan("it failed", of=named(weights("cgan"), "generator.more", np.zeros(3, np.float32))),
    "scored by nothing known": evaluate(of=filled(weights("classifier"), float("nan"))),
    "proximal term": gan(**{"proximal-mu": 1e6}),
    "proximal term of the study": gan(UNFIT, changed(STUDY, strategy__proximal_mu=0.1)),
    # The study's privacy.
    **{
        f"{key} {value}": gan(UNFIT, changed(STUDY, **{f"privacy__{key}": value}))
        for key, value in [
            *(("epsilon", value) for value in (float("inf"), float("nan"), -1.0, 0.0)),
            *(("max_grad_norm", value) for value in (0.0, 1e-9, 1e9, float("nan"))),
            *(("expected_batch_size", value) for value in (0,)),
            *(("slices_per_patient", value) for value in (0,)),
            *(("dp_step_fraction", value) for value in (0.0, 1.5)),
            *(("reserve", value) for value in (1.0, float("nan"))),
            *(("rates", {"cgan/generator": value}) for value in (float("nan"), float("inf"), -1.0)),
            ("grad_sample_mode", "none"),
            ("scores", "all"),
        ]
    },
    "the least max_grad_norm": gan("", changed(STUDY, privacy__max_grad_norm=1e-6)),
    "the largest max_grad_norm": gan("", changed(STUDY, privacy__max_grad_norm=1e6)),
    "everybody in each step": gan("", changed(STUDY, privacy__expected_batch_size=10**4)),
    "more than everybody": gan(UNFIT, changed(STUDY, privacy__expected_batch_size=10**9)),
    "slices without end": gan(UNFIT, changed(STUDY, privacy__slices_per_patient=10**12)),
    "ten million steps": gan("its privacy budget is spent", changed(STUDY, federation__local_steps=10**7)),
    "steps without end": gan(UNFIT, changed(STUDY, federation__local_steps=10**8)),
    "reserve of nearly all": gan("", changed(STUDY, privacy__reserve=0.99)),
    "rates that burst": gan(UNFIT, changed(STUDY, privacy__rates={"cgan/generator": 1e300})),
    "public steps": gan("", changed(STUDY, pretraining__gan_steps=10**6, pretraining__classifier_steps=10**6)),
    "all pictures": gan("", changed(STUDY, evaluation__gallery=1000, evaluation__frechet_images=10**6)),
    # Names that resemble others.
    **{
        f"a model called {name}": Attempt(
            Action.TRAIN_GAN,
            "",
            weights("cgan"),
            changed(STUDY, **{f"models__{name}": {**STUDY.models["cgan"]}}),
            {"phase": f"gan/{name}", "model": name},
        )
        for name in ("classifier", "scores", "run")
    },
    **{
        f"a model with the name {name}": gan(UNFIT, PRIVATE_TEXT.replace("\n  cgan:", f"\n  {name}:"))
        for name in ("run-2", "cgan/run-2", "gan/cgan")
    },
    # Questions about test patients.
    **{
        f"question {phase}": evaluate(NO_QUESTION, phase=phase)
        for phase in (
            "cross_site/hospital2",
            "cross_site/federated/real",
            "federated/copy_paste",
            "federated/real/run-2",
            "federated/real/",
            "federated",
            "arms",
            "again/federated/real",
        )
    },
    "question of a fold": evaluate(NO_TRIAL, fold=1, phase="federated/real/fold-1"),
    "plain fold's question": evaluate(
        "keep their roles", changed(PLAIN, study__folds=2), fold=1, phase="federated/real/fold-1"
    ),
    "all tumours": evaluate(of=filled(weights("classifier"), 1.0)),
    "no tumour": evaluate(of=filled(weights("classifier"), 0.0)),
    "the least cell of one": evaluate("", changed(STUDY, study__min_cell=1)),
    "split sizes": evaluate("", changed(STUDY, split__train=9, split__test=1)),
    "plain question": evaluate("", PLAIN_TEXT),
    "plain question across sites": evaluate("", PLAIN_TEXT, phase="cross_site/hospital2"),
    # Synthetic slices.
    "release of a gan that needs none": Attempt(
        Action.RELEASE, "does not train beside", weights("wgan_gp"), changes={"phase": "release", "model": "cgan"}
    ),
    "release of other weights": Attempt(
        Action.RELEASE,
        "it failed",
        weights("classifier"),
        cyclic(exchange="proxies"),
        {"phase": "release", "model": "cyclegan"},
    ),
    "release without numbers": Attempt(
        Action.RELEASE,
        "not finite",
        filled(weights("wgan_gp"), float("nan")),
        cyclic(exchange="proxies"),
        {"phase": "release", "model": "cyclegan"},
    ),
    "proxies of another shape": Attempt(
        Action.TAKE_PROXIES,
        "no float32 slices of shape",
        to_arrays({IMAGES: torch.rand(8, 1, 16, 16)}),
        cyclic(exchange="proxies"),
        {"phase": "proxies", "model": "cyclegan"},
    ),
    "proxies outside the range": Attempt(
        Action.TAKE_PROXIES,
        "outside [0, 1]",
        to_arrays({IMAGES: torch.full((8, 1, 32, 32), 1e30)}),
        cyclic(exchange="proxies"),
        {"phase": "proxies", "model": "cyclegan"},
    ),
    # Made and trained here, and said to be done.
    "synthesis": Attempt(Action.SYNTHESISE, "", weights("cgan"), changes={"phase": "synthesis", "model": "cgan"}),
    "synthesis without numbers": Attempt(
        Action.SYNTHESISE, "", filled(weights("cgan"), float("nan")), changes={"phase": "synthesis", "model": "cgan"}
    ),
    "arms": Attempt(Action.ARMS, "", None, changes={"phase": "arms"}),
    "hello": Attempt(Action.HELLO, "", None, changes={"phase": "hello"}),
    "hello with a forged witness": Attempt(
        Action.HELLO,
        "",
        None,
        changes={
            "phase": "hello",
            "witness": f'{{"node":"{"0" * 32}","count":99,"hash":"{"a" * 64}","mac":"{"b" * 64}"}}',
        },
    ),
    "hello with a witness that is none": Attempt(
        Action.HELLO, "", None, changes={"phase": "hello", "witness": '{"node": ['}
    ),
    "a run called local": gan("", run="local"),
    "a run called as the hospital's own": gan("malformed instruction (run)", run=".local"),
}


def test_there_are_at_least_forty_attempts() -> None:
    assert len(ATTEMPTS) >= 40


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_is_refused_or_paid_for(coordinator: HostileCoordinator, name: str) -> None:
    attempt = ATTEMPTS[name]
    run = re.sub(r"[^a-z0-9]+", "-", f"a-{name.lower()}")
    changes = {"run": run, "server-round": 1, **attempt.changes}
    reply = coordinator.ask(attempt.action, attempt.arrays, experiment=attempt.experiment, **changes)
    told = reply.error.reason if reply.has_error() else ""
    assert (attempt.says in told) if attempt.says else not told, told
    if attempt.action is Action.TRAIN_GAN and attempt.says == "not finite":
        # An overflow is no way to have steps taken for nothing.
        charges = [charge for charge in coordinator.standing().charges if charge["run"] == run]
        assert {charge["mechanism"] for charge in charges} == {"gan/cgan/discriminator", "gan/cgan/generator"}


# ---------------------------------------------------------------------- more than one message


def reason(reply: Any) -> str:
    return reply.error.reason if reply.has_error() else ""


def result(reply: Any) -> dict[str, Any]:
    assert not reply.has_error(), reply.error.reason
    return dict(json.loads(reply.content[CONFIG]["result"]))


def train(coordinator: HostileCoordinator, run: str, experiment: str = PRIVATE_TEXT, **changes: Any) -> str:
    """A round of the cGAN; why it was refused, or nothing."""
    asked = {"phase": "gan/cgan", "model": "cgan", **changes}
    return reason(coordinator.ask(Action.TRAIN_GAN, weights("cgan"), run=run, experiment=experiment, **asked))


def scores(
    coordinator: HostileCoordinator,
    run: str,
    experiment: str = PRIVATE_TEXT,
    of: ArrayRecord | None = None,
    phase: str = "federated/real",
    arm: str = "real",
) -> Any:
    arrays = of if of is not None else weights("classifier")
    return coordinator.ask(Action.EVALUATE, arrays, run=run, experiment=experiment, phase=phase, arm=arm)


def test_a_whole_study_is_paid_for_and_learns_of_itself_alone(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    coordinator.ask(Action.HELLO, phase="hello")
    for name in STUDY.models:
        for number in (1, 2):
            asked = {"phase": f"gan/{name}", "model": name, "server-round": number}
            assert not coordinator.ask(Action.TRAIN_GAN, weights(name), **asked).has_error()
    # Other weights than those that were trained: what is made with them is made of one patient each all the same.
    for made_with in (filled(weights("cgan"), float("inf")), scaled(weights("cgan"), 1e3)):
        asked = {"phase": "synthesis", "model": "cgan"}
        assert not coordinator.ask(Action.SYNTHESISE, made_with, **asked).has_error()
        # What is made without a number teaches no classifier, and that is all the coordinator learns.
        arms = coordinator.ask(Action.ARMS, phase="arms")
        assert "it failed" in reason(arms) if arms.has_error() else result(arms)["arms"] == {}
        for arm in ("real", "real_synthetic", "synthetic"):
            asked = {"phase": f"classifier/{arm}", "arm": arm}
            assert not coordinator.ask(Action.TRAIN_CLASSIFIER, weights("classifier"), **asked).has_error()
    statement = result(coordinator.ask(Action.PRIVACY, phase="privacy"))
    assert statement["epsilon_rdp"] <= STUDY.privacy.epsilon
    assert {one["mechanism"].split("/")[0] for one in statement["mechanisms"]} == {"gan", "classifier"}


def test_made_slices_of_a_patient_are_the_same_whoever_else_is_there(data: Path, tmp_path: Path) -> None:
    made: list[dict[str, np.ndarray]] = []
    for number in range(2):
        without = next(iter(made[0])) if made else ""
        folder = tmp_path / str(number)
        folder.mkdir()
        listed = folder / "data"
        names = sorted(path.name for path in data.iterdir() if path.name != without)
        listed.write_text("\n".join(names))
        coordinator = at(folder, data, privacy=BUDGET, patients=listed)
        asked = {"phase": "synthesis", "model": "cgan"}
        assert not coordinator.ask(Action.SYNTHESISE, weights("cgan"), **asked).has_error()
        (kept,) = coordinator.site.settings.folder.glob("runs/demo/state/**/images/synthetic.npz")
        arrays = dict(np.load(kept))
        names = arrays["learnt_from"].tolist()
        made.append({name: arrays["images"][arrays["owner"] == index] for index, name in enumerate(names)})
    everybody, fewer = made
    assert fewer.keys() < everybody.keys()
    assert all(np.array_equal(images, everybody[name]) for name, images in fewer.items())


def test_one_round_again_and_again_spends_the_study_and_no_more(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    short = changed(STUDY, privacy__epsilon=1.0, federation__local_steps=8, study__arms=["real"])
    answers = [train(coordinator, "demo", short) for _ in range(30)]
    refused = [answer for answer in answers if answer]
    assert answers[:2] == ["", ""]
    assert len(refused) > 10
    assert set(refused) == {"hospital1: the study's own epsilon is spent here, its reserve included"}
    assert 0.5 < Budget(coordinator.site.settings).epsilon() <= 1.0


def test_renamed_runs_spend_the_hospitals_cap_and_no_more(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy={**BUDGET, "epsilon": 2.0})
    greedy = changed(
        STUDY, privacy__epsilon=1e12, study__arms=["real"], federation__rounds=1, federation__local_steps=9
    )
    # Runs that begin before any of them pays are each promised what is left; together they get it once.
    for number in range(4):
        coordinator.ask(Action.HELLO, run=f"twin-{number}", experiment=greedy, phase="hello")
    answers = [train(coordinator, f"twin-{number}", greedy) for number in range(4)]
    assert not answers[0]
    assert "its privacy budget is spent" in answers[-1]
    assert 1.0 < Budget(coordinator.site.settings).epsilon() <= 2.0


def test_a_run_keeps_the_configuration_that_it_began_with(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy={**BUDGET, "without": "allow"})
    other = "this run began with another configuration"
    assert not train(coordinator, "plain", PLAIN_TEXT)
    assert other in train(coordinator, "plain", PRIVATE_TEXT)
    assert not train(coordinator, "private", PRIVATE_TEXT)
    for message, arrays in (
        (Action.TRAIN_GAN, weights("cgan")),
        (Action.SYNTHESISE, weights("cgan")),
        (Action.ARMS, None),
        (Action.SITE_MODEL, None),
        (Action.EVALUATE, weights("classifier")),
        (Action.HELLO, None),
    ):
        asked = {"run": "private", "experiment": PLAIN_TEXT, "phase": "gan/cgan", "model": "cgan"}
        assert other in reason(coordinator.ask(message, arrays, **asked))
    for keys in ({"privacy__epsilon": 9.0}, {"privacy__max_grad_norm": 2.0}, {"seed": 2}, {"federation__rounds": 99}):
        assert other in train(coordinator, "private", changed(STUDY, **keys))


def test_the_same_configuration_in_other_words_is_the_same(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    tree = yaml.safe_load(PRIVATE_TEXT)
    shared = [0.7, 1.3]
    tree["models"]["cgan"]["lesion_scale"] = shared
    text = yaml.dump({key: tree[key] for key in reversed(tree)}, default_flow_style=True)
    tree["models"]["cgan"] = dict(reversed(tree["models"]["cgan"].items()))
    tree["models"]["wgan_gp"]["betas"] = tree["models"]["wgan_gp"]["betas"]
    organ = tree["organs"]["brain"]["contrasts"]
    tree["organs"]["brain"]["contrasts"] = organ
    tree["study"]["ratios"] = tree["study"]["curve"] = []
    aliased = yaml.dump(tree)
    assert "&id001" in aliased
    assert not train(coordinator, "demo")
    for number, words in enumerate((text, aliased, f"# a remark\n{PRIVATE_TEXT}"), start=2):
        assert not train(coordinator, "demo", words, **{"server-round": number})


def test_questions_end_when_the_hospital_says_so(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy={**BUDGET, "questions": 3})
    assert not reason(scores(coordinator, "one"))
    told = result(scores(coordinator, "one"))
    assert result(scores(coordinator, "one")) == told
    for value in (0.0, 1.0, -1.0):
        crafted = filled(weights("classifier"), value)
        assert "about another classifier" in reason(scores(coordinator, "one", of=crafted))
    assert not reason(scores(coordinator, "two", of=filled(weights("classifier"), 1.0)))
    assert not reason(scores(coordinator, "three", PLAIN_TEXT, phase="cross_site/hospital2"))
    spent = "as many questions about its test patients as its hospital allows"
    for run in ("four", "five", "one-"):
        assert spent in reason(scores(coordinator, run))
        assert spent in reason(scores(coordinator, run + "plain", PLAIN_TEXT))
    assert spent in reason(scores(coordinator, "one", phase="federated/synthetic", arm="synthetic"))
    assert not reason(scores(coordinator, "one"))


NESTED = {
    **{f"least tumour {n}": {"organs__brain__min_tumour_pixels": n} for n in (1, 16, 32, 48, 64, 96)},
    **{f"foreground {share}": {"image__min_foreground": share} for share in (0.3, 0.65, 0.7)},
    "half of them": {"split__test": 0.5, "split__train": 0.5, "split__validation": 0.0},
    "one of them": {"split__test": 1, "split__train": 9},
    "scarce": {"study__most_patients": 2},
    "few tumours": {"study__most_tumour_patients": 1},
    "a curve": {"study__curve": [3]},
    "a cell of one": {"study__min_cell": 1},
}


def test_no_two_answers_are_about_test_patients_that_differ_in_a_few(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    answered: dict[str, dict[str, str]] = {}
    for number, (name, keys) in enumerate(NESTED.items()):
        changes = {"patients": 3} if name == "a curve" else {}
        reply = coordinator.ask(
            Action.EVALUATE,
            weights("classifier"),
            run=f"nested-{number}",
            experiment=changed(PLAIN, **keys),
            phase="federated/real/patients-3" if changes else "federated/real",
            arm="real",
            **changes,
        )
        if reply.has_error():
            assert re.search("too nearly those of an earlier study|min_foreground is above", reason(reply))
            continue
        (file,) = coordinator.site.settings.folder.glob(f"runs/nested-{number}/results/**/predictions.csv")
        seen: dict[str, str] = {}
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                seen[row["patient"]] = seen.get(row["patient"], "") + row["truth"]
        answered[name] = seen
    assert len(answered) >= 4
    for one in answered.values():
        for other in answered.values():
            apart = {name for name, _ in one.items() ^ other.items()}
            assert not 0 < len(apart) < coordinator.site.settings.min_cell


def test_noised_scores_are_paid_for_each_time(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    noised = changed(STUDY, privacy__scores="noised", privacy__epsilon=1.0, study__arms=["real"])
    told = []
    for count in (1, 2):
        told.append(result(scores(coordinator, "noised", noised))["arms"]["model"])
        charges = [c for c in coordinator.standing().charges if c["mechanism"] == "scores/federated/real"]
        assert [c["steps"] for c in charges] == [1] * count
    once, twice = ({one["metric"]: one["value"] for one in answer["figures"]} for answer in told)
    assert once["accuracy"] != twice["accuracy"]
    assert "auc" not in once
    assert [reason(scores(coordinator, "noised", noised)) for _ in range(20)][-1].endswith("its reserve included")


def test_a_hospital_that_tells_noised_figures_tells_no_others(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy={**BUDGET, "scores": "noised"})
    assert "it tells noised figures only" in reason(scores(coordinator, "plain", PLAIN_TEXT))
    assert not reason(scores(coordinator, "private"))
    assert [charge["mechanism"] for charge in coordinator.standing().charges] == ["scores/federated/real"]


def test_figures_of_fewer_than_the_hospitals_cell_stay(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET, min_cell=7)
    for run, text in (("private", changed(STUDY, study__min_cell=1)), ("plain", changed(PLAIN, study__min_cell=1))):
        told = result(scores(coordinator, run, text))["arms"]["model"]
        assert {key: value for key, value in told.items() if value is not None} == {"figures": [], "withheld": 0}


def test_a_study_without_privacy_keeps_the_roster_where_it_is_allowed(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy={**BUDGET, "without": "allow"})
    assert not train(coordinator, "plain", PLAIN_TEXT)
    everybody = changed(PLAIN, split__train=1.0, split__validation=0.0, split__test=0.0)
    assert not train(coordinator, "everybody", everybody)
    folds = changed(PLAIN, study__folds=2)
    for action in (Action.TRAIN_CLASSIFIER, Action.EVALUATE):
        asked = {"run": "folds", "experiment": folds, "fold": 1, "phase": "federated/real/fold-1", "arm": "real"}
        assert "keep their roles" in reason(coordinator.ask(action, weights("classifier"), **asked))
    asked = {"run": "scarce", "experiment": changed(PLAIN, study__curve=[8]), "patients": 8, "arm": "real"}
    assert not reason(coordinator.ask(Action.TRAIN_CLASSIFIER, weights("classifier"), phase="x", **asked))
    assert not reason(scores(coordinator, "plain", PLAIN_TEXT))
    assert not train(coordinator, "private")
    trained, roles = coordinator.standing().trained, coordinator.standing().roles
    assert trained == {name for name, role in roles.items() if role == "train"}


def test_a_hospital_without_a_budget_trains_nothing_privately(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data)
    assert "no privacy guarantee" in train(coordinator, "private")
    for action, arrays, asked in (
        (Action.TRAIN_CLASSIFIER, weights("classifier"), {"phase": "classifier/real", "arm": "real"}),
        (Action.SYNTHESISE, weights("cgan"), {"phase": "synthesis", "model": "cgan"}),
        (Action.ARMS, None, {"phase": "arms"}),
        (Action.PRIVACY, None, {"phase": "privacy"}),
    ):
        assert reason(coordinator.ask(action, arrays, run="private", **asked))
    assert "has no privacy budget" in reason(scores(coordinator, "private"))
    said = result(coordinator.ask(Action.HELLO, run="private", phase="hello"))
    assert said["tasks"] == []


def test_who_knows_no_patients_trains_nothing_privately(tmp_path: Path) -> None:
    images = write_image_site(tmp_path / "images" / "data", 6, seed=2, named=False)
    text = changed(STUDY, organs__brain__contrasts=["flair"])
    given = {"reader": "image_folder", "options": {"tumour_classes": ["tumour"]}}
    (tmp_path / "site").mkdir()
    coordinator = at(tmp_path / "site", images, privacy=BUDGET, **given)
    said = result(coordinator.ask(Action.HELLO, experiment=text, phase="hello"))
    assert [task for task in said["tasks"] if task != "evaluate"] == []
    unknown = "its images name no patients, and the unit of privacy is the patient"
    assert unknown in train(coordinator, "demo", text)
    for action, arrays, asked in (
        (Action.TRAIN_CLASSIFIER, weights("classifier"), {"phase": "classifier/real", "arm": "real"}),
        (Action.SYNTHESISE, weights("cgan"), {"phase": "synthesis", "model": "cgan"}),
        (Action.ARMS, None, {"phase": "arms"}),
    ):
        assert unknown in reason(coordinator.ask(action, arrays, experiment=text, **asked))
    assert coordinator.standing().charges == []


def test_an_older_ledger_that_was_put_back_is_refused(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    files = coordinator.site.settings.ledger_files()
    coordinator.ask(Action.HELLO, run="demo", phase="hello")
    older = files.ledger.read_bytes(), files.head.read_bytes()
    assert not train(coordinator, "demo")
    copy = json.dumps(result(coordinator.ask(Action.PRIVACY, run="demo", phase="privacy"))["witness"])
    files.ledger.write_bytes(older[0])
    files.head.write_bytes(older[1])
    coordinator.ask(Action.HELLO, run="demo", phase="hello", witness=copy)
    assert "no privacy guarantee" in train(coordinator, "demo")
    assert "no privacy guarantee" in train(coordinator, "another")
    files.ledger.unlink()
    files.head.unlink()
    assert "no privacy guarantee" in train(coordinator, "a-third")


def test_a_ledger_that_was_begun_anew_counts_as_spent(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    assert not train(coordinator, "demo")
    Ledger.reopen(coordinator.site.settings.ledger_files(), "hospital1", "a test", BUDGET["epsilon"])
    assert "its privacy budget is spent" in train(coordinator, "demo", **{"server-round": 2})
    assert "its privacy budget is spent" in train(coordinator, "another")


def test_a_second_folder_gives_no_second_budget(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert not train(at(first, data, privacy=BUDGET), "demo")
    again = at(second, data, privacy={**BUDGET, "known": first / ".oncofed-patients"})
    assert "no privacy guarantee" in train(again, "demo")
    assert "no privacy guarantee" in train(again, "another")


def test_proxies_change_nothing_of_what_is_paid(data: Path, tmp_path: Path) -> None:
    coordinator = at(tmp_path, data, privacy=BUDGET)
    text = cyclic(exchange="proxies")
    cycle = {"run": "cycle", "experiment": text, "model": "cyclegan"}
    released = [
        coordinator.ask(Action.RELEASE, sent, phase="release", **cycle).content[ARRAYS][IMAGES].numpy()
        for sent in (weights("wgan_gp"), scaled(weights("wgan_gp"), 100.0))
    ]
    assert np.array_equal(*released)
    experiment = from_yaml(text)
    device = torch.device("cpu")
    first = to_arrays(build_gan_trainer(experiment, "cyclegan", device=device, weights=STUDY.weights).shared_arrays())
    for number, images in enumerate((torch.rand(8, 1, 32, 32), torch.zeros(8, 1, 32, 32)), start=1):
        taken = coordinator.ask(Action.TAKE_PROXIES, to_arrays({IMAGES: images}), phase="proxies", **cycle)
        assert not reason(taken)
        asked = {**cycle, "phase": "gan/cyclegan", "server-round": number}
        assert not reason(coordinator.ask(Action.TRAIN_GAN, first, **asked))


def test_a_list_of_models_or_actions_has_no_way_around(data: Path, tmp_path: Path) -> None:
    hello = [Action.HELLO.value, Action.TRAIN_GAN.value, Action.RELEASE.value]
    coordinator = at(tmp_path, data, privacy=BUDGET, allowed_models=["wgan_gp", "cyclegan"], allowed_actions=hello)
    model, action = "its hospital does not allow this model", "its hospital does not allow this action"
    assert model in train(coordinator, "demo")
    renamed = changed(STUDY, models__wgan_gp={**STUDY.models["cgan"]}, study__generator="wgan_gp")
    assert model in train(coordinator, "renamed", renamed, model="wgan_gp", phase="gan/wgan_gp")
    sampled = changed(STUDY, models__cgan={**STUDY.models["cgan"], "family": "wgan_gp"})
    assert reason(coordinator.ask(Action.TRAIN_GAN, weights("cgan"), run="unfit", experiment=sampled, model="cgan"))
    for other in (a for a in Action if a.value not in hello):
        asked = {"run": "demo", "phase": "gan/wgan_gp", "model": "wgan_gp"}
        assert action in reason(coordinator.ask(other, weights("wgan_gp"), **asked))
    assert not reason(
        coordinator.ask(Action.TRAIN_GAN, weights("wgan_gp"), run="demo", phase="gan/wgan_gp", model="wgan_gp")
    )
    only = at(tmp_path / "only", data, privacy=BUDGET, allowed_models=["cyclegan"])
    cycle = {"run": "cycle", "experiment": cyclic(exchange="proxies"), "model": "cyclegan", "phase": "release"}
    assert model in reason(only.ask(Action.RELEASE, weights("wgan_gp"), **cycle))
