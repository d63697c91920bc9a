"""One bad round stays one: what a site keeps is finite, and it goes on from its last update that counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bad_steps import spoil
from flwr.app import Message, RecordDict
from hospital import Hospital
from opening import about, open_study, parts
from tiny import TINY, write_site
from torch import Tensor

from client.privacy import rounds as private_rounds
from client.privacy.budget import Budget
from client.site import SiteSettings
from client.training.local_generator import train_alone
from client.training.rounds import Update, train_classifier, train_gan
from common.errors import RefusalError
from common.protocol.records import ARRAYS, CONFIG, Instruction, from_arrays, instruction_record, to_arrays
from common.study.config import compose, to_yaml
from common.study.experiment import Experiment
from common.system.array_files import read_tensors
from common.training import cgan, classifier, cyclegan
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.finite import all_finite
from common.training.trainer import Trainer

CYCLEGAN = (
    "model=[cgan,cyclegan]",
    "models.cyclegan.width=4",
    "models.cyclegan.federation.local_steps=4",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=4",
    "models.cyclegan.discriminator_layers=1",
    "models.cyclegan.batch_size=2",
)
STUDIES: dict[str, tuple[type[Trainer[object]], tuple[str, ...]]] = {
    "cgan": (cgan.Trainer, ()),
    "cgan with a discriminator that stays": (cgan.Trainer, ("+models.cgan.federation.share=generator",)),
    "classifier": (classifier.Trainer, ()),
    "cyclegan by gradients": (cyclegan.Trainer, CYCLEGAN),
    "cyclegan by gradients and weights": (cyclegan.Trainer, (*CYCLEGAN, "models.cyclegan.generator_steps=2")),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1, contrasts=("flair", "t1"))


@pytest.fixture(params=STUDIES)
def what(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Site:
    """A site at one training of a study; each question may be the first one after a restart."""

    def __init__(self, folder: Path, data: Path, what: str) -> None:
        self.family, overrides = STUDIES[what]
        self.experiment: Experiment = compose([*TINY, *overrides])
        self.arm = "real" if what == "classifier" else ""
        self.model = "" if self.arm else what.split()[0]
        self.phase = f"classifier/{self.arm}" if self.arm else f"gan/{self.model}"
        self.settings = SiteSettings(
            name="north",
            reader="brats",
            organ="brain",
            path=data,
            contrasts=["flair", "t1"],
            folder=folder,
            cache_dir=data.parent / "cache",
        )
        self.session = open_study(self.settings, self.experiment, "run")
        self.weights = self._first()

    def restart(self) -> None:
        self.session = open_study(self.settings, self.experiment, "run")

    def ask(self, server_round: int, counted: int) -> Update:
        instruction = Instruction.model_validate(
            {
                "run": "run",
                "phase": self.phase,
                "server-round": server_round,
                "counted": counted,
                "model": self.model,
                "arm": self.arm,
            }
        )
        return (train_classifier if self.arm else train_gan)(about(self.session, instruction), self.weights)

    def kept(self) -> dict[int, dict[str, Tensor]]:
        files = sorted((self.settings.run_folder("run") / "state" / "run" / self.phase).glob("*.safetensors"))
        return {int(file.stem.removeprefix("round-")): read_tensors(file) for file in files}

    def _first(self) -> dict[str, Tensor]:
        device, files = torch.device("cpu"), self.experiment.weights
        if self.arm:
            return build_classifier_trainer(
                self.experiment, device=device, weights=files, total_steps=1
            ).shared_arrays()
        return build_gan_trainer(self.experiment, self.model, device=device, weights=files).shared_arrays()


def same(one: Update, other: Update) -> bool:
    return one.losses == other.losses and all(value.equal(other.arrays[name]) for name, value in one.arrays.items())


@pytest.fixture
def bad_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Trainer[object]]], Callable[[], None]]:
    """Spoils every gradient of a family from now on; what it returns ends that."""

    def begin(family: type[Trainer[object]]) -> Callable[[], None]:
        spoil(family, monkeypatch)
        return monkeypatch.undo

    return begin


@pytest.mark.parametrize("restarted", [False, True])
def test_a_site_with_a_bad_step_contributes_again_in_the_next_round(
    tmp_path: Path,
    data: Path,
    what: str,
    restarted: bool,
    bad_step: Callable[[type[Trainer[object]]], Callable[[], None]],
) -> None:
    site, twin = Site(tmp_path / "site", data, what), Site(tmp_path / "twin", data, what)
    site.ask(1, 0)
    end = bad_step(site.family)
    section = "classifier" if site.arm else f"models.{site.model}"
    with pytest.raises(
        RefusalError, match=f"not finite, and nothing of it was kept; a lower learning rate in {section}"
    ):
        site.ask(2, 1)
    end()
    assert list(site.kept()) == [1]
    if restarted:
        site.restart()
    after = site.ask(3, 1)
    assert all_finite(after.arrays.values())
    assert all_finite(value for state in site.kept().values() for value in state.values())
    # As one that was not asked for the second round.
    twin.ask(1, 0)
    assert same(after, twin.ask(3, 1))


def test_a_first_round_that_is_bad_leaves_a_fresh_start(
    tmp_path: Path, data: Path, what: str, bad_step: Callable[[type[Trainer[object]]], Callable[[], None]]
) -> None:
    site, twin = Site(tmp_path / "site", data, what), Site(tmp_path / "twin", data, what)
    end = bad_step(site.family)
    with pytest.raises(RefusalError, match="not finite"):
        site.ask(1, 0)
    end()
    assert site.kept() == {}
    assert same(site.ask(2, 0), twin.ask(2, 0))


def test_an_update_that_did_not_count_leaves_nothing_behind(tmp_path: Path, data: Path, what: str) -> None:
    site, twin = Site(tmp_path / "site", data, what), Site(tmp_path / "twin", data, what)
    for server_round, counted in ((1, 0), (2, 1), (3, 1), (4, 1)):  # 2, 3 and 4 were refused, or came too late
        if server_round == 3:
            site.restart()
        refused = site.ask(server_round, counted)
    twin.ask(1, 0)
    assert same(refused, twin.ask(4, 1))
    # None has counted at all: the state of round 4 and the one before it are there, and neither is taken up.
    fresh = Site(tmp_path / "fresh", data, what)
    assert same(site.ask(5, 0), fresh.ask(5, 0))
    # While a round that counted is gone on from.
    fresh.ask(6, 5)
    steps = [int(state["steps_done"]) for state in fresh.kept().values()]
    assert steps == [steps[0], 2 * steps[0]]


def test_a_generator_of_one_site_alone_keeps_no_bad_round(
    tmp_path: Path, data: Path, bad_step: Callable[[type[Trainer[object]]], Callable[[], None]]
) -> None:
    whole = train_alone(*parts(Site(tmp_path / "whole", data, "cgan").session), "cgan").shared_arrays()
    site = Site(tmp_path / "site", data, "cgan")
    end = bad_step(cgan.Trainer)
    with pytest.raises(RefusalError, match=r"lower learning rate in models\.cgan"):
        train_alone(*parts(site.session), "cgan")
    end()
    again = train_alone(*parts(site.session), "cgan").shared_arrays()
    assert all(value.equal(again[name]) for name, value in whole.items())


def test_a_private_round_that_overflows_is_paid_for_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = compose([*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2"])
    site = Hospital(tmp_path, privacy={"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}})
    first = build_gan_trainer(study, "cgan", device=torch.device("cpu"), weights=study.weights).shared_arrays()
    states = site.settings.run_folder("demo") / "state" / "demo" / "gan" / "cgan"

    def ask(server_round: int, counted: int) -> Message:
        asked = {"run": "demo", "phase": "gan/cgan", "server-round": server_round, "counted": counted, "model": "cgan"}
        instruction = Instruction.model_validate({**asked, "experiment": to_yaml(study, leaving=True)})
        return site.ask("train.gan", RecordDict({CONFIG: instruction_record(instruction), ARRAYS: to_arrays(first)}))

    train_privately = private_rounds.train_privately

    def overflowing(trainer: Trainer[object], *given: object, **named: object) -> None:
        train_privately(trainer, *given, **named)  # type: ignore[arg-type]
        (state, *_) = trainer.optimisers["generator"].state.values()
        state["exp_avg_sq"].fill_(float("inf"))

    assert not ask(1, 0).has_error()
    monkeypatch.setattr(private_rounds, "train_privately", overflowing)
    paid = Budget(site.settings).charges("demo")
    refused = ask(2, 1)
    assert "not finite" in refused.error.reason
    assert Budget(site.settings).charges("demo") == 2 * paid > 0
    assert [file.name for file in states.iterdir()] == ["round-00001.safetensors"]
    monkeypatch.undo()
    answer = ask(3, 1)
    assert all_finite(from_arrays(answer.content[ARRAYS]).values())
    kept = {file.name: read_tensors(file) for file in states.iterdir()}
    assert sorted(kept) == ["round-00001.safetensors", "round-00003.safetensors"]
    assert all_finite(value for state in kept.values() for value in state.values())
