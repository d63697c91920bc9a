"""A coordinator without scruples, and what a hospital must still be after each of its messages."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hospital import Hospital
from tiny import TINY

from client.privacy.accounting import rdp_epsilon
from client.privacy.budget import Budget
from common.protocol.actions import FAILED, Action
from common.protocol.records import ARRAYS, CONFIG, METRICS, NUM_EXAMPLES, PROTOCOL, to_arrays
from common.study.config import compose, to_yaml
from common.study.experiment import LOCAL_SECTIONS, Experiment
from common.training.build import build_classifier_trainer, build_gan_trainer

BASE = (
    *TINY,
    "model=[cgan,wgan_gp]",
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.n_critic=1",
    "models.wgan_gp.federation.rounds=2",
    "models.wgan_gp.federation.local_steps=2",
    "pretraining.gan_steps=0",
    "pretraining.classifier_steps=0",
)
STUDY = compose([*BASE, "privacy=patient_dp", "privacy.grad_sample_mode=loop"])
PLAIN = compose([*BASE])

NOISED = (Action.TRAIN_GAN, Action.TRAIN_CLASSIFIER)
TRAINING = (*NOISED, Action.SYNTHESISE, Action.ARMS, Action.SITE_MODEL)
COUNTS = ("patients", "slices", "quarantined", "confusion", "curve", "steps", "test_to_train")


def changed(experiment: Experiment, **keys: Any) -> str:
    """A study's YAML with other values under ``section__key``, unchecked: whatever a coordinator writes."""
    tree = asdict(experiment)
    for section in LOCAL_SECTIONS:
        tree.pop(section)
    for key, value in keys.items():
        *way, last = key.split("__")
        place = tree
        for step in way:
            place = place[step]
        place[last] = value
    # Without aliases, which are bounded.
    return str(yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False))


@cache
def weights(name: str) -> ArrayRecord:
    """First weights of a GAN of the study, or of its ``classifier``."""
    device, files = torch.device("cpu"), STUDY.weights
    if name == "classifier":
        return to_arrays(build_classifier_trainer(STUDY, device=device, weights=files, total_steps=1).shared_arrays())
    return to_arrays(build_gan_trainer(STUDY, name, device=device, weights=files).shared_arrays())


def filled(record: ArrayRecord, value: float) -> ArrayRecord:
    """Arrays of the same names and shapes that hold ``value`` alone, whole numbers where they were."""
    arrays = {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}
    return to_arrays({k: torch.full_like(v, value) if v.is_floating_point() else v for k, v in arrays.items()})


def scaled(record: ArrayRecord, factor: float) -> ArrayRecord:
    """The same arrays, times ``factor``."""
    arrays = {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}
    return to_arrays({k: v * factor if v.is_floating_point() else v for k, v in arrays.items()})


@dataclass(frozen=True)
class Standing:
    """What a hospital is before or after a message.

    Attributes:
        charges: lines of the ledger.
        roles: of the roster, by patient.
        trained: names in any record of who trained.
        scored: names in any predictions on test patients.
        places: what lies where, below the hospital's own folder and beside it.
    """

    charges: list[dict[str, Any]]
    roles: dict[str, str]
    trained: frozenset[str]
    scored: frozenset[str]
    places: frozenset[str]


class HostileCoordinator:
    """Sends whatever it likes, and looks at the hospital after each message.

    Args:
        site: whom it asks.
        secrets: what no reason may hold.
    """

    def __init__(self, site: Hospital, *secrets: str) -> None:
        self.site = site
        self.secrets = (str(site.file.parents[1]), "case-", "Traceback", *secrets)
        self.sent = 0

    def ask(self, action: Action, arrays: ArrayRecord | None = None, **changes: Any) -> Message:
        """A message with anything in it; the hospital is looked at before and after.

        Args:
            action: what is asked.
            arrays: beside the instruction.
            changes: keys of the instruction, whatever they hold.
        """
        asked = {"protocol": PROTOCOL, "run": "demo", "phase": "gan/cgan", "server-round": 1}
        config = {**asked, "experiment": PRIVATE_TEXT, **changes}
        content = RecordDict({CONFIG: ConfigRecord(config)})
        if arrays is not None:
            content[ARRAYS] = arrays
        before = self.standing()
        reply = self.site.ask(action, content)
        self.sent += 1
        self.check(action, config, reply, before, self.standing())
        return reply

    # ------------------------------------------------------------------ looking

    def standing(self) -> Standing:
        """What the hospital's disk says now."""
        settings = self.site.settings
        charges: list[dict[str, Any]] = []
        if settings.privacy is not None and settings.ledger_files().ledger.exists():
            charges = [json.loads(line)["entry"] for line in settings.ledger_files().ledger.read_text().splitlines()]
            charges = [entry for entry in charges if "mechanism" in entry]
        roster = settings.privacy_folder() / "roster.json"
        roles = json.loads(roster.read_text())["roles"] if roster.exists() else {}
        root = self.site.file.parents[1]
        beside = {path.name for path in root.iterdir()}
        own = {f"hospital1/{path.name}" for path in settings.folder.iterdir()}
        runs = {f"runs/{path.name}" for path in (settings.folder / "runs").glob("*")}
        return Standing(
            charges,
            roles,
            frozenset(self._trained()),
            frozenset(self._scored()),
            frozenset(beside | own | runs),
        )

    def _trained(self) -> Iterator[str]:
        for file in self.site.settings.folder.glob("runs/*/state/**/trained.json"):
            yield from json.loads(file.read_text())
        for file in self.site.settings.folder.glob("runs/*/state/**/images/*.npz"):
            yield from np.load(file)["learnt_from"].tolist()

    def _scored(self) -> Iterator[str]:
        for file in self.site.settings.folder.glob("runs/*/results/**/*predictions.csv"):
            with file.open(newline="") as lines:
                yield from (row["patient"] for row in csv.DictReader(lines))

    # ------------------------------------------------------------------ judging

    def check(self, action: Action, config: dict[str, Any], reply: Message, before: Standing, after: Standing) -> None:
        """What must hold after every message, whatever was asked."""
        study = _read(config["experiment"])
        private = study["privacy"]["mode"] == "patient_dp"
        new = after.charges[len(before.charges) :]
        assert after.charges[: len(before.charges)] == before.charges, "the ledger forgot something"
        if reply.has_error():
            self._safe(reply)
        else:
            self._declared(action, private, reply)
            self._paid(action, config, private, reply, new)
        own = self.site.settings.privacy
        if new:
            assert own is not None
            budget = Budget(self.site.settings)
            assert rdp_epsilon(budget.spent(run=str(config["run"])), budget.delta) <= study["privacy"]["epsilon"]
            assert budget.epsilon() <= own.epsilon
        self._in_place(after)
        assert all(after.roles.get(name) == role for name, role in before.roles.items()), "a role changed"
        if own is not None:
            assert {after.roles[name] for name in after.trained} <= {"train"}
            assert {after.roles[name] for name in after.scored} <= {"test"}
        assert not after.trained & after.scored

    def _safe(self, reply: Message) -> None:
        assert not reply.has_content()
        reason = reply.error.reason
        assert reply.error.code == FAILED, reason
        assert reason.startswith("hospital1: "), reason
        assert len(reason) < 300, reason
        told = reason.removeprefix("hospital1: ")
        assert not any(secret in told for secret in self.secrets), reason
        assert "/" not in told, reason

    def _declared(self, action: Action, private: bool, reply: Message) -> None:
        """No losses and no counts, of training patients nothing but noised weights."""
        content = reply.content
        assert set(content) <= {CONFIG, ARRAYS, METRICS}
        settings = self.site.settings
        if private:
            assert settings.privacy is not None or action not in NOISED, "nobody paid"
            assert action is not Action.SITE_MODEL, "a classifier of single patients left"
            if METRICS in content:
                assert set(content[METRICS]) == {NUM_EXAMPLES}, "losses left"
            if ARRAYS in content:
                assert action in (*NOISED, Action.RELEASE)
            if action in (Action.SYNTHESISE, Action.ARMS, Action.TAKE_PROXIES):
                said = content[CONFIG].get("result")
                assert said is None or not json.loads(said)["arms"]
        elif settings.privacy is not None and settings.privacy.without == "refuse":
            assert action not in TRAINING, "a training without privacy was answered"
        if METRICS in content and not settings.declare_counts:
            assert content[METRICS][NUM_EXAMPLES] == 1
        if "result" in content[CONFIG] and not settings.declare_counts and action is not Action.PRIVACY:
            told = json.loads(content[CONFIG]["result"])
            assert told.get("examples", 1) == 1
            assert [key for key, value in _items(told) if key in COUNTS and value is not None] == []

    def _paid(
        self,
        action: Action,
        config: dict[str, Any],
        private: bool,
        reply: Message,
        new: list[dict[str, Any]],
    ) -> None:
        """A noised round costs its steps, each with the noise that was planned; all else costs nothing."""
        if not private or action not in NOISED:
            if action is not Action.EVALUATE:
                assert new == []
            return
        run, phase = config["run"], config["phase"]
        plan = json.loads((self.site.settings.run_folder(run) / "state" / run / "privacy.json").read_text())
        rounds = self._rounds(config, phase)
        wanted = {name: n // rounds for name, n in plan["steps"].items() if name.rpartition("/")[0] == phase}
        paid: dict[str, int] = {}
        for entry in new:
            assert (entry["run"], entry["sigma"], entry["q"]) == (run, plan["sigma"], plan["rate"])
            paid[entry["mechanism"]] = paid.get(entry["mechanism"], 0) + entry["steps"]
        assert wanted
        assert paid == wanted
        assert ARRAYS in reply.content

    @staticmethod
    def _rounds(config: dict[str, Any], phase: str) -> int:
        study = _read(config["experiment"])
        kind, _, rest = phase.partition("/")
        if kind == "classifier":
            return int(study["classifier"]["federation"]["rounds"])
        own = study["models"][rest.partition("/")[0]].get("federation") or {}
        return int(own.get("rounds", study["federation"]["rounds"]))

    def _in_place(self, after: Standing) -> None:
        known = {"hospital1", "data", "cache", ".hospital1-audit-head.json", ".hospital1-ledger-head.json"}
        known |= {".oncofed-patients"}
        own = {"site.yaml", "runs", "privacy", "audit.jsonl", "log.jsonl", "node-id", "cache"}
        for place in after.places - known:
            folder, _, name = place.partition("/")
            assert (folder == "hospital1" and name in own) or (
                folder == "runs" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
            ), place


@lru_cache(maxsize=8)
def _read(text: object) -> dict[str, Any]:
    """The study's YAML as it stands there; a site that answers has checked it."""
    tree = yaml.load(str(text), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tree if isinstance(tree, dict) else {}


def _items(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
        for inner in value.values():
            yield from _items(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _items(inner)


PRIVATE_TEXT = to_yaml(STUDY, leaving=True)
PLAIN_TEXT = to_yaml(PLAIN, leaving=True)


def names_below(folder: Path) -> frozenset[str]:
    """The files below ``folder``, relative to it."""
    return frozenset(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
