"""A hostile coordinator over the real ClientApp of a hospital with a privacy budget: refused, or paid for.

After every message :class:`private_coordinator.HostileCoordinator` looks at the reply, the ledger, the disk and the
roster. One site answers all single messages, each in a run of its own, so that what one left behind would show later.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hospital import Hospital
from private_coordinator import (
    BASE,
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

from common.config import compose, to_yaml
from common.records import IMAGES, Action, to_arrays

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
def nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> Iterator[None]:
    """Runs a test in an empty folder; nothing may be written there, nor among the patients."""
    here = tmp_path / "here"
    here.mkdir()
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
    "cyclegan without an exchange": gan(UNFIT, cyclic(), model="cyclegan", phase="gan/cyclegan"),
    "cyclegan with gradients": gan(UNFIT, cyclic(exchange="gradients"), model="cyclegan", phase="gan/cyclegan"),
    "cyclegan with another exchange": gan("do not fit", cyclic(exchange="raw"), model="cyclegan", phase="gan/cyclegan"),
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
    "first run as the second": gan(
        OTHER_NAME, changed(STUDY, models__cgan__runs=2), phase="gan/cgan/run-2"
    ),
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
    "made images that are not there": classifier(
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
    "weights that are no numbers": gan(of=filled(weights("cgan"), float("nan"))),
    "infinite weights": gan(of=filled(weights("cgan"), float("inf"))),
    "huge weights": gan(of=filled(weights("cgan"), 1e38)),
    "exploding gradients": gan(of=scaled(weights("cgan"), 1e4)),
    "vanishing weights": gan(of=filled(weights("cgan"), 1e-40)),
    "weights of another network": gan("it failed", of=weights("classifier")),
    "one array more": gan("it failed", of=named(weights("cgan"), "generator.more", np.zeros(3, np.float32))),
    "scored by nothing known": evaluate("it failed", of=filled(weights("classifier"), float("nan"))),
    "proximal term": gan(**{"proximal-mu": 1e6}),
    "proximal term of the study": gan(UNFIT, changed(STUDY, strategy__proximal_mu=0.1)),
    # The study's privacy.
    **{
        f"{key} {value}": gan(UNFIT, changed(STUDY, **{f"privacy__{key}": value}))
        for key, value in [
            *(("epsilon", value) for value in (float("inf"), float("nan"), -1.0, 0.0)),
            *(("clip", value) for value in (0.0, 1e-9, 1e9, float("nan"), float("inf"))),
            *(("patients_per_step", value) for value in (0, -4)),
            *(("slices_per_patient", value) for value in (0, -1)),
            *(("steps_share", value) for value in (0.0, -1.0, 1.5, float("nan"))),
            *(("reserve", value) for value in (1.0, -1.0, float("nan"))),
            *(("rates", {"cgan/generator": value}) for value in (float("nan"), float("inf"), -1.0)),
            ("gradients", "none"),
            ("scores", "all"),
        ]
    },
    "the least clip": gan("", changed(STUDY, privacy__clip=1e-6)),
    "the largest clip": gan("", changed(STUDY, privacy__clip=1e6)),
    "everybody in each step": gan("", changed(STUDY, privacy__patients_per_step=10**9)),
    "slices without end": gan("it ran out of memory", changed(STUDY, privacy__slices_per_patient=10**12)),
    "ten million steps": gan("its privacy budget is spent", changed(STUDY, federation__local_steps=10**7)),
    "steps without end": gan(UNFIT, changed(STUDY, federation__local_steps=10**8)),
    "reserve of nearly all": gan("", changed(STUDY, privacy__reserve=0.99)),
    "rates that burst": gan("", changed(STUDY, privacy__rates={"cgan/generator": 1e300})),
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
        for name in ("classifier", "scores", "run", "gan")
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
    "plain fold's question": evaluate("keep their roles", changed(PLAIN, study__folds=2), fold=1),
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
    "synthesis": Attempt(
        Action.SYNTHESISE, "", weights("cgan"), changes={"phase": "synthesis", "model": "cgan"}
    ),
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
    "a run called local": gan(run="local"),
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
