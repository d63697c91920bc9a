"""A hostile coordinator: what it asks is refused with a reason that tells nothing, and nothing is written elsewhere.

One site answers all of it, so that what an earlier message left behind would show in a later one.
"""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from hospital import STUDY, Hospital
from opening import open_message

from common.imaging.slices import Slices
from common.protocol.actions import FAILED, Action
from common.protocol.records import ARRAYS, CONFIG, PROTOCOL

NOBODY = Slices("brain", ("flair",), [])

SECRET = "oncofed-test-secret"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    torch.set_num_threads(1)
    return Hospital(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(autouse=True)
def nothing_outside(site: Hospital, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a test in a folder of its own, with a secret in the environment, and looks at what was written where."""
    root = site.file.parents[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONCOFED_SECRET", SECRET)
    yield
    known = {"hospital1", "data", "cache", ".hospital1-audit-head.json"}
    assert {path.name for path in root.iterdir()} <= known
    assert list(tmp_path.iterdir()) == []
    runs = root / "hospital1" / "runs"
    assert not runs.exists() or all(re.fullmatch(r"demo(-[0-9a-f]{8})?", path.name) for path in runs.iterdir())


def ask(site: Hospital, action: Action, arrays: ArrayRecord | None = None, **changes: Any) -> Message:
    """A question with anything in it: no check on the sending side stands between."""
    # A run is bound to its configuration: another one comes under another name.
    study = str(changes.get("experiment", STUDY))
    run = "demo" if study == STUDY else f"demo-{zlib.crc32(study.encode()):08x}"
    asked = {"protocol": PROTOCOL, "run": run, "phase": "gan/cgan", "server-round": 1, "experiment": STUDY}
    content = RecordDict({CONFIG: ConfigRecord({**asked, "model": "cgan", **changes})})
    if arrays is not None:
        content[ARRAYS] = arrays
    return site.ask(action, content)


def assert_refused(site: Hospital, reply: Message, *reasons: str) -> None:
    assert reply.has_error()
    reason = reply.error.reason
    assert reply.error.code == FAILED
    assert reason.startswith("hospital1: ")
    assert any(one in reason for one in reasons), reason
    assert len(reason) < 300
    for what in (str(site.file.parents[1]), SECRET, "case-1-", "Traceback", "pytest", "/"):
        assert what not in reason.removeprefix("hospital1: "), reason


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("run", value)
            for value in (
                "../../../escaped",
                "/tmp/escaped",
                "a/b",
                "..",
                ".hidden",
                "",
                "r" * 101,
                "a\n",
                "a\0",
                7,
                True,
            )
        ),
        *(("phase", value) for value in ("../escaped", "/escaped", "gan/../../../escaped", "GAN", "", "a\nb", "é", 7)),
        *(("server-round", value) for value in (-1, 10**12, 2**63, 10**400, 1.5, float("nan"), "1", True, [1])),
        *(("repeat", value) for value in (0, -5, 10**9, "2")),
        *(("proximal-mu", value) for value in (-1.0, float("nan"), float("inf"), 1e300, "0")),
        *(("model", value) for value in ("../escaped", "a/b", "A", "m" * 31, 3)),
        *(("arm", value) for value in ("../escaped", "a b", "x" * 1000, 3)),
        *(("experiment", value) for value in ("x" * 3_000_000, b"seed: 1", 3, ["seed: 1"])),
        ("protocol", PROTOCOL - 1),
        ("protocol", "4"),
        ("site-config", "/etc/passwd"),
        ("k" * 100_000, 1),
        ("\x1b[2J", 1),
    ],
)
def test_a_malformed_instruction_is_refused(site: Hospital, key: str, value: Any) -> None:
    reply = ask(site, Action.TRAIN_GAN, **{key: value})
    assert_refused(site, reply, "malformed instruction", "protocol")


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)

EXPERIMENTS = {
    "a call of a function": "seed: !!python/object/apply:os.system ['touch escaped']",
    "a new object": "seed: !!python/object/new:subprocess.Popen [[touch, escaped]]",
    "a module": "seed: !!python/module:antigravity",
    "a name": "seed: !!python/name:os.system",
    "a tag of its own": "seed: !escaped 1",
    "billions of laughs": LAUGHS,
    "an alias of itself": "a: &a [*a]",
    "nesting in brackets": "a: " + "[" * 500_000 + "]" * 500_000,
    "nesting in braces": "{a: " * 200_000,
    "nesting in dashes": "- " * 200_000 + "x",
    "a number of many digits": "seed: " + "9" * 9_000,
    "a number to the base of sixty": "seed: 1" + ":59" * 3_000,
    "a date that is none": "seed: 2026-99-99",
    "the environment": STUDY.replace("name: demo", "name: ${oc.env:ONCOFED_SECRET}"),
    "the environment in a model": STUDY + "\n  other: {family: cgan, x: '${oc.env:ONCOFED_SECRET}'}",
    "nothing": "",
    "a list": "[1, 2]",
    "a word": "study",
    "control characters": "seed: \x07",
    "an unknown key": STUDY + "\nexec: touch escaped",
    "a family with a path": STUDY.replace("family: cgan", "family: ../../escaped"),
    "a family that is another module": STUDY.replace("family: cgan", "family: os"),
    "a family of our own that is none": STUDY.replace("family: cgan", "family: build"),
    "a model with a path": STUDY.replace("  cgan:", "  ../cgan:"),
    "images of a terabyte": re.sub(r"(?m)^  size: \d+$", "  size: 1048576", STUDY, count=1),
    "images of a negative size": re.sub(r"(?m)^  size: \d+$", "  size: -32", STUDY, count=1),
    "a bootstrap without end": re.sub(r"bootstrap: \d+", "bootstrap: 1000000000", STUDY),
    "rounds without a number": re.sub(r"rounds: \d+", "rounds: .nan", STUDY),
    "steps without end": re.sub(r"local_steps: \d+", "local_steps: 1000000000000", STUDY),
}


@pytest.mark.parametrize("how", EXPERIMENTS)
def test_a_hostile_configuration_is_refused(site: Hospital, how: str) -> None:
    assert EXPERIMENTS[how] != STUDY
    reply = ask(site, Action.TRAIN_GAN, ArrayRecord(), experiment=EXPERIMENTS[how])
    assert_refused(
        site, reply, "does not fit this release", "its settings do not fit this study", "its hospital does not allow"
    )


def test_the_configuration_is_refused_for_what_was_spoilt(site: Hospital) -> None:
    """The same message with the untouched configuration gets as far as the weights."""
    assert_refused(site, ask(site, Action.TRAIN_GAN, ArrayRecord()), "it failed")


WEIGHTS = {
    "none": ArrayRecord(),
    "other names": ArrayRecord({"../escaped": Array(np.zeros(3, np.float32))}),
    "no numbers": ArrayRecord({"generator.a": Array("object", (1,), "numpy.ndarray", b"\x80\x04cposix\nsystem\n.")}),
    "a pickle": ArrayRecord({"generator.a": Array("float32", (1,), "numpy.ndarray", b"\x80\x04cposix\nsystem\n.")}),
    "a terabyte that is not there": ArrayRecord(
        {"generator.a": Array("float32", (2**38,), "numpy.ndarray", Array(np.zeros(1, np.float32)).data)}
    ),
    "text": ArrayRecord({"generator.a": Array(np.array(["x"]))}),
}


@pytest.mark.parametrize("action", [Action.TRAIN_GAN, Action.SYNTHESISE, Action.TRAIN_CLASSIFIER, Action.EVALUATE])
@pytest.mark.parametrize("what", WEIGHTS)
def test_hostile_weights_are_refused(site: Hospital, action: Action, what: str) -> None:
    reply = ask(site, action, WEIGHTS[what])
    assert_refused(site, reply, "it failed", "an array", "does not know this arm", "no arrays")


REASON = {"real": ("it failed",), "nothing_known": ("does not know this arm",)}


@pytest.mark.parametrize("arm", REASON)
def test_an_arm_that_the_study_does_not_have_trains_nothing(site: Hospital, arm: str) -> None:
    assert_refused(site, ask(site, Action.TRAIN_CLASSIFIER, ArrayRecord(), arm=arm), *REASON[arm])


def test_figures_of_few_patients_stay_whatever_the_study_asks_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A study that lowers its own limit is no way around the hospital's."""
    from client.study.trial import Tested
    from common.metrics.classification import FIGURES, classification_scores

    folder = tmp_path_factory.mktemp("few")
    greedy = re.sub(r"min_cell: \d+", "min_cell: 1", STUDY)
    assert greedy != STUDY
    scores = classification_scores(
        np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3]), np.array([0, 1, 2, 3]), samples=20, seed=1, min_cell=1
    )
    for least, leaves in ((5, False), (4, True)):
        site = Hospital(folder, min_cell=least, declare_counts=True)
        told = Tested(scores, NOBODY, np.zeros(0)).leaving(open_message(site.settings, greedy, "demo").study, None)
        assert (told.value("auc") is not None, told.patients is not None) == (leaves, leaves)
        assert {one.metric for one in told.figures} == ({*FIGURES, "calibration_error"} if leaves else set())


@pytest.mark.parametrize("action", ["train.shell", "query.exec", "evaluate.arms_"])
def test_an_action_that_does_not_exist_is_not_answered(site: Hospital, action: str) -> None:
    before = {path.name: path.stat().st_size for path in site.file.parent.iterdir()}
    reply = site.ask(action, RecordDict({CONFIG: ConfigRecord({"run": "demo"})}))
    assert reply.has_error()
    assert str(site.file.parent) not in reply.error.reason
    assert {path.name: path.stat().st_size for path in site.file.parent.iterdir()} == before
