"""A private training inside a site: what is charged and when, what a repeated round costs, and what ends a training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from opening import about, open_study, parts
from private_trainers import build
from tiny import TINY, write_site
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.hello.introduction import introduce
from client.privacy import training as private
from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.ledger import LedgerError
from client.privacy.made import make_private_images, patient_sources
from client.privacy.patients import PoissonPatients
from client.privacy.plan import planned_steps, study_plan
from client.privacy.randomness import PrivateRandom
from client.privacy.slices import kept_here
from client.privacy.training import Noise, train_privately
from client.site import SiteSettings
from client.training.rounds import train_classifier, train_gan
from common.errors import ConfigError, PrivacyError, RefusalError
from common.protocol.records import Instruction
from common.study.config import compose
from common.training.build import build_classifier_trainer, build_gan_trainer

STUDY = compose([*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2"])
PLAIN = compose([*TINY])
SHARES = {"train": 0.4, "test": 0.6}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1)


def session_at(
    folder: Path, data: Path, *, epsilon: float | None = 20.0, study: Any = STUDY, **changes: Any
) -> OpenStudy:
    own = {"epsilon": epsilon, "patients": 4, "shares": SHARES, **changes} if epsilon is not None else None
    settings = SiteSettings.model_validate(
        {
            "name": "north",
            "reader": "brats",
            "organ": "brain",
            "path": data,
            "folder": folder / "site",
            "cache_dir": data.parent / "cache",
            "threads": 1,
            "privacy": own,
        }
    )
    return open_study(settings, study, "run")


def gan_weights(study: Any = STUDY) -> dict[str, Tensor]:
    return build_gan_trainer(study, "cgan", device=torch.device("cpu"), weights=study.weights).shared_arrays()


def asked(server_round: int, phase: str = "gan/cgan", arm: str = "") -> Instruction:
    return Instruction.model_validate(
        {"run": "run", "phase": phase, "server-round": server_round, "model": "cgan", "arm": arm}
    )


def charged(session: OpenStudy) -> dict[str, int]:
    return {one.name: one.steps for one in Budget(session.study.settings).spent("run")}


def test_a_round_is_charged_and_tells_nothing_but_weights(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    update = train_gan(about(session, asked(1)), gan_weights())
    assert charged(session) == {"gan/cgan/discriminator": 2, "gan/cgan/generator": 2}
    assert update.losses == {}
    assert any(not torch.equal(update.arrays[k], v) for k, v in gan_weights().items())
    (line,) = (session.work.folder / "results" / "training.jsonl").read_text().splitlines()
    assert json.loads(line)["losses"] == {}


def test_a_repeated_round_draws_new_noise_and_is_charged_again(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    once = train_gan(about(session, asked(1)), gan_weights()).arrays
    twice = train_gan(about(session, asked(1)), gan_weights()).arrays
    assert charged(session) == {"gan/cgan/discriminator": 4, "gan/cgan/generator": 4}
    assert any(not torch.equal(once[name], twice[name]) for name in once)


def test_every_step_is_paid_for_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, slices = build("cgan")
    trainer.perceptual = None
    for network in trainer.networks.values():
        network.float()
    patients = PoissonPatients([slices], rate=0.5, slices=2, make=trainer.patient_examples, random=PrivateRandom())
    paid, taken = {"discriminator": 0, "generator": 0}, {"discriminator": 0, "generator": 0}
    real = private.PrivateStep.take

    def take(step: Any, batches: Any) -> None:
        taken[step.update.optimiser] += 1
        assert taken[step.update.optimiser] <= paid[step.update.optimiser]
        real(step, batches)

    def charge(optimiser: str, steps: int) -> None:
        assert steps <= private.AHEAD
        paid[optimiser] += steps

    monkeypatch.setattr(private.PrivateStep, "take", take)
    noise = Noise(sigma=1.0, max_grad_norm=1.0, rate=0.5, expected=2.0, slices=2)
    train_privately(trainer, patients, 23, noise, condition=slices.condition(), charge=charge)
    assert paid == taken == {"discriminator": 23, "generator": 23}


def test_a_step_that_fails_stays_charged(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_at(tmp_path, data)

    def broken(*_: Any) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr(private.PrivateStep, "take", broken)
    with pytest.raises(RuntimeError, match="device lost"):
        train_gan(about(session, asked(1)), gan_weights())
    assert charged(session) == {"gan/cgan/discriminator": 2, "gan/cgan/generator": 2}


def test_draws_without_a_patient_are_stepped_and_charged(tmp_path: Path) -> None:
    trainer, slices = build("wgan_gp")
    for network in trainer.networks.values():
        network.float()
    before = {name: value.clone() for name, value in trainer.shared_arrays().items()}
    patients = PoissonPatients([slices], rate=1e-9, slices=2, make=trainer.patient_examples, random=PrivateRandom())
    counted: list[int] = []
    noise = Noise(sigma=1.0, max_grad_norm=1.0, rate=1e-9, expected=1.0, slices=2)
    train_privately(
        trainer, patients, 3, noise, condition=slices.condition(), charge=lambda name, steps: counted.append(steps)
    )
    assert sum(counted) == 3 * trainer.config.n_critic
    after = trainer.shared_arrays()
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("critic"))


def until_refused(session: OpenStudy) -> str:
    """Round 1 again and again, as a coordinator that "crashes" would ask for it."""
    while True:
        try:
            train_gan(about(session, asked(1)), gan_weights())
        except BudgetSpentError as error:
            return str(error)


def test_a_round_that_is_repeated_is_paid_from_the_reserve_and_then_refused(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    plan = study_plan(session.data, session.work, Budget(session.study.settings))
    assert until_refused(session) == "the study's own epsilon is spent here, its reserve included"
    assert Budget(session.study.settings).epsilon() <= STUDY.privacy.epsilon
    # What the study was to train afterwards is refused as well: that epsilon is gone.
    with pytest.raises(BudgetSpentError):
        train_classifier(about(session, asked(1, "classifier/real", "real")), classifier_weights())
    assert plan.sigma == study_plan(session.data, session.work, Budget(session.study.settings)).sigma
    # Another study has an epsilon of its own, within the cap.
    train_gan(
        about(open_study(session.study.settings, STUDY, "another"), replaced(asked(1), run="another")), gan_weights()
    )


def test_a_spent_budget_ends_the_training_and_says_so(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data, epsilon=7.9)
    assert until_refused(session) == "its privacy budget is spent"
    assert Budget(session.study.settings).epsilon() <= 7.9


def replaced(instruction: Instruction, **changes: Any) -> Instruction:
    return instruction.model_copy(update=changes)


def classifier_weights() -> dict[str, Tensor]:
    return build_classifier_trainer(
        STUDY, device=torch.device("cpu"), weights=STUDY.weights, total_steps=1
    ).shared_arrays()


def test_the_plan_covers_the_study_and_stays_what_it_was(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    budget = Budget(session.study.settings)
    assert planned_steps(session.data, 4) == {
        "gan/cgan/discriminator": 4,
        "gan/cgan/generator": 4,
        "classifier/real/classifier": 4,
        "classifier/real_synthetic/classifier": 4,
        "classifier/synthetic/classifier": 4,
    }
    plan = study_plan(session.data, session.work, budget)
    assert plan.rate == 0.5
    train_gan(about(session, asked(1)), gan_weights())
    assert study_plan(*parts(session_at(tmp_path, data)), budget) == plan
    # Another study on the same patients finds less left, and plans more noise.
    other = open_study(session.study.settings.model_copy(), STUDY, "another")
    tight = session_at(tmp_path, data, epsilon=7.8)
    assert (
        study_plan(*parts(open_study(tight.study.settings, STUDY, "third")), Budget(tight.study.settings)).sigma
        > plan.sigma
    )
    assert study_plan(other.data, other.work, budget).sigma >= plan.sigma


def test_an_arm_that_is_not_trained_in_federation_is_not_paid_for(tmp_path: Path, data: Path) -> None:
    few = compose(
        [
            *TINY,
            "privacy=patient_dp",
            "privacy.expected_batch_size=2",
            "privacy.slices_per_patient=2",
            "study.federated_arms=[real]",
        ]
    )
    planned = planned_steps(session_at(tmp_path, data, study=few).data, 4)
    assert [name for name in planned if name.startswith("classifier/")] == ["classifier/real/classifier"]


def test_a_training_that_was_not_announced_is_refused(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    for instruction in (
        asked(1, "gan/cgan/run-7"),
        asked(1, "classifier/real"),
        replaced(asked(1, "gan/cgan/run-7"), repeat=7),
    ):
        with pytest.raises(RefusalError, match=r"had not announced|under the name of another"):
            train_gan(about(session, instruction), gan_weights())
    assert charged(session) == {}


def test_a_capped_site_trains_without_privacy_for_nobody(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data, study=PLAIN)
    hello = introduce(session.data, session.work)
    assert hello.tasks == ["evaluate"]
    assert "trains nothing: it trains with differential privacy only, and the study asks for none" in hello.notes
    with pytest.raises(RefusalError, match="differential privacy only"):
        train_gan(about(session, asked(1)), gan_weights(PLAIN))
    with pytest.raises(RefusalError, match="differential privacy only"):
        train_classifier(about(session, asked(1, "classifier/real", "real")), classifier_weights())
    allowed = session_at(tmp_path, data, study=PLAIN, without="allow")
    assert train_gan(about(allowed, asked(1)), gan_weights(PLAIN)).losses


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"epsilon": None}, "no privacy guarantee can be given"),
        ({"epsilon": 0.002}, "what is left of its privacy budget does not suffice"),
    ],
)
def test_a_site_that_cannot_pay_says_so_at_hello(tmp_path: Path, data: Path, change: dict[str, Any], note: str) -> None:
    hello = introduce(*parts(session_at(tmp_path, data, **change)))
    # Without a budget there is no roster either, so that it does not evaluate in a private study.
    assert hello.tasks == (["evaluate"] if change["epsilon"] else [])
    assert any(note in one for one in hello.notes)


def test_a_damaged_ledger_stops_training_and_the_site_says_so(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    train_gan(about(session, asked(1)), gan_weights())
    session.study.settings.ledger_files().head.unlink()
    with pytest.raises(LedgerError):
        train_gan(about(session, asked(2)), gan_weights())
    hello = introduce(session.data, session.work)
    assert hello.tasks == ["evaluate"]
    assert any("its privacy ledger cannot be relied on" in note for note in hello.notes)


def test_hello_tells_no_count_and_its_weight_is_public(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    open_about_it = session.study.settings.model_copy(update={"declare_counts": True, "share_site_model": True})
    for settings, examples in ((session.study.settings, 1), (open_about_it, 4)):
        hello = introduce(*parts(open_study(settings, STUDY, "run")))
        assert (hello.patients, hello.slices, hello.quarantined) == (None, None, None)
        assert hello.examples == examples
        assert hello.share_site_model is False


def test_a_made_slice_belongs_to_the_patient_it_was_put_into(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    trainer = build_gan_trainer(STUDY, "cgan", device=session.study.device, weights=session.study.weights)
    trainer.public_masks = True  # type: ignore[attr-defined]
    make_private_images(session.data, session.work, trainer, 1)  # type: ignore[arg-type]
    (made,) = patient_sources(session.data, session.work, "synthetic")
    real = kept_here(session.data)
    assert [patient.patient for patient in made.patients] == [patient.patient for patient in real.patients]
    assert {len(own.images) for own in made.patients} == {16}  # a fixed number, not that of their slices
    for own, source in zip(made.patients, real.patients, strict=True):
        for image in own.images:
            # Outside the inserted region a slice is that of its own patient, pixel by pixel.
            same = (source.images == image).mean(axis=(1, 2, 3))
            assert same.max() > 0.4
    real_too = patient_sources(session.data, session.work, "real_synthetic")
    assert [len(source) for source in real_too] == [len(real), len(made)]
    with pytest.raises(RefusalError, match="mix patients"):
        patient_sources(session.data, session.work, "copy_paste")


def test_what_cannot_be_private_is_refused_in_the_configuration() -> None:
    private_study = [*TINY, "privacy=patient_dp"]
    for override, match in (
        ("models.cgan.spectral_norm=true", r"models\.cgan\.spectral_norm=true: must be false"),
        ("models.cgan.diffaugment=translation", r"models\.cgan\.diffaugment"),
        ("strategy.proximal_mu=0.1", r"strategy\.proximal_mu"),
        ("privacy.epsilon=0", r"privacy\.epsilon=0"),
        ("privacy.max_grad_norm=-1", r"privacy\.max_grad_norm"),
        ("privacy.grad_sample_mode=ew", r"privacy\.grad_sample_mode=ew: must be one of auto, loop, vmap"),
        ("privacy.mode=some", r"privacy\.mode=some: must be one of none, patient_dp"),
    ):
        with pytest.raises(ConfigError, match=match):
            compose([*private_study, override])
    for override, match in (("pool=5", "pool"), ("exchange=gradients", "exchange")):
        with pytest.raises(ConfigError, match=match):
            compose(["privacy=patient_dp", "model=[wgan_gp,cyclegan]", f"models.cyclegan.{override}"])
    assert compose(private_study).study.arms == ["real", "real_synthetic", "synthetic"]


def test_the_waiting_generator_looks_at_generated_slices_alone() -> None:
    """It steps when the critic is ahead of it, by what it made itself; no patient is needed to decide."""
    trainer, slices = build("wgan_gp")
    trainer.config.critic_lead, trainer.config.critic_wait = 1.0, 3
    with torch.no_grad():
        for parameter in trainer.networks["critic"].parameters():
            parameter.zero_()
        list(trainer.networks["critic"].parameters())[-1].fill_(1.0)
    for network in trainer.networks.values():
        network.float()
    before = [value.clone() for value in trainer.networks["generator"].parameters()]

    def moved() -> bool:
        return any(
            not torch.equal(a, b) for a, b in zip(before, trainer.networks["generator"].parameters(), strict=True)
        )

    waits = 0
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        trainer.public_update(slices.condition(), generator)
        waits += trainer.waited > 0
    assert waits == 3  # then it steps whatever the scores say
    assert not moved() or trainer.waited == 0


def test_private_steps_may_have_rates_of_their_own_on_top_of_the_schedule() -> None:
    trainer, slices = build("wgan_gp")
    for network in trainer.networks.values():
        network.float()
    patients = PoissonPatients([slices], rate=0.5, slices=2, make=trainer.patient_examples, random=PrivateRandom())
    rates = {"critic": 2.0, "generator": 0.25}
    noise = Noise(sigma=1.0, max_grad_norm=1.0, rate=0.5, expected=2.0, slices=2, rates=rates)
    train_privately(trainer, patients, 3, noise, condition=slices.condition(), charge=lambda name, steps: None)
    found = {name: optimiser.param_groups[0]["lr"] for name, optimiser in trainer.optimisers.items()}
    assert found == {"critic": pytest.approx(2e-3), "generator": pytest.approx(2.5e-4)}


def test_a_patients_slices_do_not_depend_on_who_else_is_there(tmp_path: Path, data: Path) -> None:
    """Grey values are normalised by image or by a fixed window; fitted on a site they would speak of its patients."""
    whole = session_at(tmp_path / "whole", data)
    names = sorted(patient.patient for patient in whole.data.cohort.patients)
    listed = tmp_path / "one.txt"
    listed.write_text(f"{names[3]}\n")
    alone = whole.study.settings.model_copy(update={"patients": listed, "cache_dir": tmp_path / "another-cache"})
    (one,) = open_study(alone, STUDY, "run").data.cohort.patients
    same = next(patient for patient in whole.data.cohort.patients if patient.patient == names[3])
    slices = [open_study(s, STUDY, "run").data.cohort.slices([names[3]]).all() for s in (whole.study.settings, alone)]
    assert one.patient == same.patient
    assert torch.equal(slices[0].images, slices[1].images)
    assert torch.equal(slices[0].labels, slices[1].labels)


def test_a_privacy_error_is_no_refusal() -> None:
    """Its text may name layers and files, and stays at the site."""
    assert not issubclass(PrivacyError, RefusalError)
    assert issubclass(BudgetSpentError, RefusalError)
