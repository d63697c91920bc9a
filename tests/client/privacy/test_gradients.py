"""The private step against plain arithmetic: gradients of single patients, clipping, noise, what a patient adds."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from private_trainers import FAMILIES, build, cohort, draw_batches
from torch import Tensor, nn

from client.privacy.fastest import faster_mode
from client.privacy.gradients import GradSampleMode, PrivateStep, patient_gradients
from client.privacy.patients import Drawn
from client.privacy.randomness import PrivateRandom
from common.errors import PrivacyError
from common.training.patients import PatientUpdate

CASES = [
    (family, name)
    for family in FAMILIES
    for name in {
        "wgan_gp": ("critic",),
        "classifier": ("classifier",),
    }.get(family, ("generator", "discriminator"))
]


def update_of(family: str, name: str) -> tuple[Any, PatientUpdate[Any], list[Any]]:
    """Without dropout, of which the plain loop knows no patient's own."""
    trainer, slices = build(family)
    for network in trainer.networks.values():
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    updates = {update.optimiser: update for update in trainer.patient_updates(slices.condition())}
    return trainer, updates[name], draw_batches(trainer, slices)


def naive(update: PatientUpdate[Any], batches: list[Any]) -> dict[str, Tensor]:
    """Each patient's gradient by one plain backward pass over everything, as ``backward`` leaves it in ``.grad``."""
    rows: dict[str, list[Tensor]] = {name: [] for name in update.parameters()}
    for drawn in batches:
        for parameter in update.parameters().values():
            parameter.grad = None
        update.loss(drawn.batch).backward()  # type: ignore[no-untyped-call]
        for name, parameter in update.parameters().items():
            rows[name].append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone())
            parameter.grad = None
    return {name: torch.stack(each) for name, each in rows.items()}


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def norms(gradients: dict[str, Tensor]) -> Tensor:
    return torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()], 1).norm(dim=1)


@pytest.mark.parametrize("mode", GradSampleMode)
@pytest.mark.parametrize(("family", "name"), CASES)
def test_gradients_of_single_patients_equal_a_plain_loop(family: str, name: str, mode: GradSampleMode) -> None:
    _, update, batches = update_of(family, name)
    assert len(batches) == 4
    expected = naive(update, batches)
    found = patient_gradients(update, batches, mode)
    assert found.keys() == expected.keys()
    assert float(norms(expected).min()) > 1e-3
    assert difference(found, expected) < 1e-10


@pytest.mark.parametrize(("family", "name"), [("wgan_gp", "critic"), ("classifier", "classifier")])
def test_a_patients_gradient_is_the_mean_over_its_slices(family: str, name: str) -> None:
    _, update, batches = update_of(family, name)
    batch = batches[0].batch
    names = [key for key, value in vars(batch).items() if isinstance(value, Tensor) and key != "condition"]
    singles = [Drawn(replace(batch, **{key: getattr(batch, key)[i : i + 1] for key in names}), 0) for i in range(3)]
    if family == "wgan_gp":  # the drift term squares the mean score of the batch, which for one slice is its own
        whole = naive(update, [Drawn(batch, 0)])
        alone = {key: value.mean(0, keepdim=True) for key, value in naive(update, singles).items()}
        assert difference(whole, alone) < 1e-2 * float(norms(whole).max())
    else:
        whole = naive(update, [Drawn(batch, 0)])
        alone = {key: value.mean(0, keepdim=True) for key, value in naive(update, singles).items()}
        assert difference(whole, alone) < 1e-10


class Weights(nn.Module):
    """A network whose loss on a patient has a known gradient: the patient's own vector."""

    def __init__(self, size: int = 6) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(size // 2, dtype=torch.float64))
        self.second = nn.Parameter(torch.zeros(size - size // 2, dtype=torch.float64))


def linear_update(network: Weights) -> PatientUpdate[Any]:
    from common.training.classifier import ClassifierBatch

    def loss(batch: ClassifierBatch) -> Tensor:
        return batch.images.mean(0) @ torch.cat([network.first, network.second])

    return PatientUpdate("weights", {"weights": network}, loss)


def linear_patients(count: int, slices: int = 2, scale: float = 5.0, seed: int = 0) -> list[Any]:
    from common.training.classifier import ClassifierBatch

    generator = torch.Generator().manual_seed(seed)
    return [
        Drawn(
            ClassifierBatch(
                scale * torch.randn(slices, 6, dtype=torch.float64, generator=generator), torch.zeros(slices) > 0
            ),
            chance,
        )
        for chance in range(count)
    ]


def step_of(
    network: Weights,
    *,
    sigma: float,
    mode: GradSampleMode = GradSampleMode.LOOP,
    max_grad_norm: float = 1.0,
    expected: float = 1.0,
) -> Any:
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    return PrivateStep(
        optimiser,
        linear_update(network),
        sigma=sigma,
        max_grad_norm=max_grad_norm,
        expected=expected,
        noise=PrivateRandom().stream(),
        mode=mode,
    )


def moved(network: Weights) -> Tensor:
    """What the step added up to: minus the weights, which started at zero."""
    return -torch.cat([network.first, network.second]).detach()


def clipped_sum(patients: list[Any], max_grad_norm: float = 1.0) -> Tensor:
    total = torch.zeros(6, dtype=torch.float64)
    for drawn in patients:
        gradient = drawn.batch.images.mean(0)
        total += gradient * min(1.0, max_grad_norm / float(gradient.norm() + 1e-6))
    return total


@pytest.mark.parametrize("mode", GradSampleMode)
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_without_noise_a_step_is_the_clipped_sum_over_the_expected_number(mode: GradSampleMode, count: int) -> None:
    network, patients = Weights(), linear_patients(count)
    step_of(network, sigma=0.0, mode=mode, max_grad_norm=0.7, expected=3.5).take(patients)
    torch.testing.assert_close(moved(network), clipped_sum(patients, 0.7) / 3.5)


@pytest.mark.parametrize("mode", GradSampleMode)
def test_leaving_one_patient_out_changes_the_sum_by_no_more_than_the_bound(mode: GradSampleMode) -> None:
    patients = linear_patients(8, scale=50.0)
    sums = []
    for left_out in [None, *range(8)]:
        network = Weights()
        step_of(network, sigma=0.0, mode=mode).take([p for i, p in enumerate(patients) if i != left_out])
        sums.append(moved(network))
    assert max(float((sums[0] - other).norm()) for other in sums[1:]) <= 1.0 + 1e-9
    assert min(float((sums[0] - other).norm()) for other in sums[1:]) > 0.99


@pytest.mark.parametrize("mode", GradSampleMode)
@pytest.mark.parametrize(("family", "name"), CASES)
def test_no_patient_of_a_network_as_shipped_moves_the_sum_beyond_the_bound(
    family: str, name: str, mode: GradSampleMode
) -> None:
    """With everything that the network draws, dropout too: it must not depend on who else is in the step."""
    trainer, slices = build(family)
    update = {update.optimiser: update for update in trainer.patient_updates(slices.condition())}[name]
    batches = draw_batches(trainer, slices)
    max_grad_norm = 0.5 * float(norms(patient_gradients(update, batches, mode)).min())  # every one of them is clipped

    def summed(some: list[Any]) -> Tensor:
        seen: list[dict[str, Tensor]] = []
        step = PrivateStep(
            torch.optim.SGD(update.parameters().values(), lr=0.0),
            update,
            sigma=0.0,
            max_grad_norm=max_grad_norm,
            expected=1.0,
            noise=PrivateRandom().stream(),
            mode=mode,
            watch=seen.append,
        )
        step.take(some)
        return torch.cat([part.flatten() for part in seen[0].values()])

    whole = summed(batches)
    for left_out in range(len(batches)):
        rest = summed(batches[:left_out] + batches[left_out + 1 :])
        assert 0.99 * max_grad_norm < float((whole - rest).norm()) <= max_grad_norm * (1 + 1e-9)


class Careless(nn.Module):
    """A network whose dropout is torch's own: it draws for a patient after those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 1))


@pytest.mark.parametrize("mode", GradSampleMode)
def test_a_loss_with_chance_that_patients_share_is_refused(mode: GradSampleMode) -> None:
    network = Careless().double()

    def loss(batch: Any) -> Tensor:
        return network.body(batch.images).mean()

    with pytest.raises(PrivacyError, match="all patients of a step share"):
        patient_gradients(PatientUpdate("careless", {"careless": network}, loss), linear_patients(3), mode)


def test_dropout_of_a_patient_follows_from_its_own_number() -> None:
    trainer, slices = build("classifier")
    update = trainer.patient_updates(slices.condition())[0]
    drawn = draw_batches(trainer, slices)
    found = {mode: patient_gradients(update, drawn, mode) for mode in GradSampleMode}
    assert difference(found[GradSampleMode.LOOP], found[GradSampleMode.VMAP]) < 1e-10
    other = patient_gradients(update, [replace(one, chance=one.chance + 1) for one in drawn], GradSampleMode.LOOP)
    assert difference(found[GradSampleMode.LOOP], other) > 1e-4
    reversed_ = patient_gradients(update, drawn[::-1], GradSampleMode.VMAP)
    assert difference(found[GradSampleMode.VMAP], {name: each.flip(0) for name, each in reversed_.items()}) < 1e-10


def test_a_patient_with_100_slices_adds_no_more_than_one_with_5() -> None:
    trainer, _ = build("wgan_gp")
    slices = cohort([100, 5])
    update = trainer.patient_updates(slices.condition())[0]
    batches = draw_batches(trainer, slices, k=4)
    assert [len(drawn.batch.images) for drawn in batches] == [4, 4]
    found = patient_gradients(update, batches, GradSampleMode.LOOP)
    scale = (1.0 / norms(found)).clamp(max=1.0)
    assert float((norms(found) * scale).max()) <= 1.0 + 1e-12


def test_noise_has_the_stated_size_also_where_nobody_was_drawn() -> None:
    sigma, max_grad_norm, expected = 2.0, 0.5, 4.0
    for count in (0, 3):
        patients = linear_patients(count)
        draws = []
        for _ in range(400):
            network = Weights()
            step_of(network, sigma=sigma, max_grad_norm=max_grad_norm, expected=expected).take(patients)
            draws.append(moved(network) - clipped_sum(patients, max_grad_norm) / expected)
        noise = torch.stack(draws)
        assert float(noise.std()) == pytest.approx(sigma * max_grad_norm / expected, rel=0.06)
        assert abs(float(noise.mean())) < 0.03


def test_noise_cannot_be_replayed_from_a_public_seed() -> None:
    """The step is the same, torch's own seed is the same, and still the noise is another one."""
    results = []
    for _ in range(2):
        torch.manual_seed(42)
        network = Weights()
        step_of(network, sigma=1.0).take([])
        results.append(moved(network))
    assert not torch.allclose(results[0], results[1])
    replayed = torch.normal(0.0, 1.0, (6,), generator=torch.Generator().manual_seed(42))
    assert not torch.allclose(results[0].float(), replayed, atol=1e-3)


def test_a_gradient_that_is_not_finite_adds_nothing() -> None:
    patients = linear_patients(3)
    images = patients[1].batch.images
    broken, endless = (
        replace(patients[1], batch=replace(patients[1].batch, images=torch.full_like(images, float(value))))
        for value in ("nan", "inf")
    )
    for bad in (broken, endless):
        network = Weights()
        step_of(network, sigma=0.0).take([patients[0], bad, patients[2]])
        torch.testing.assert_close(moved(network), clipped_sum([patients[0], patients[2]]))


def test_unequal_numbers_of_real_and_generated_slices_are_refused() -> None:
    trainer, slices = build("wgan_gp")
    update = trainer.patient_updates(slices.condition())[0]
    drawn = draw_batches(trainer, slices)[0]
    step = PrivateStep(
        trainer.optimisers["critic"], update, sigma=1.0, max_grad_norm=1.0, expected=1, noise=PrivateRandom().stream()
    )
    uneven = replace(drawn, batch=replace(drawn.batch, noise=drawn.batch.noise[:2], grain=drawn.batch.grain[:2]))
    with pytest.raises(ValueError, match=r"unequal numbers of examples: .*noise 2, .*images 3"):
        step.take([uneven])


def test_weights_of_the_optimiser_that_the_loss_does_not_train_stand_still() -> None:
    trainer, slices = build("cyclegan_proxies")
    update = {u.optimiser: u for u in trainer.patient_updates(slices.condition())}["discriminator"]
    assert list(update.networks) == ["discriminator_a"]
    before = copy.deepcopy(trainer.networks["discriminator_b"].state_dict())
    own = copy.deepcopy(trainer.networks["discriminator_a"].state_dict())
    step = PrivateStep(
        trainer.optimisers["discriminator"],
        update,
        sigma=1.0,
        max_grad_norm=1.0,
        expected=1,
        noise=PrivateRandom().stream(),
    )
    step.take([])
    assert all(torch.equal(before[k], v) for k, v in trainer.networks["discriminator_b"].state_dict().items())
    assert any(not torch.equal(own[k], v) for k, v in trainer.networks["discriminator_a"].state_dict().items())


def test_a_loss_whose_weights_are_not_the_optimisers_is_refused() -> None:
    network, other = Weights(), Weights()
    with pytest.raises(PrivacyError, match="weights that its optimiser does not hold"):
        PrivateStep(
            torch.optim.SGD(other.parameters(), lr=1.0),
            linear_update(network),
            sigma=1.0,
            max_grad_norm=1.0,
            expected=1,
            noise=PrivateRandom().stream(),
        )


def test_the_optimisers_history_goes_on_over_private_steps() -> None:
    network = Weights()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    step = PrivateStep(
        optimiser, linear_update(network), sigma=1.0, max_grad_norm=1.0, expected=1, noise=PrivateRandom().stream()
    )
    for _ in range(3):
        step.take(linear_patients(2))
    assert {int(state["step"]) for state in optimiser.state.values()} == {3}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_faster_way_is_one_that_works() -> None:
    trainer, slices = build("wgan_gp")
    update = trainer.patient_updates(slices.condition())[0]
    batches = draw_batches(trainer, slices)
    assert faster_mode(update, batches, torch.device("cpu")) in GradSampleMode

    def cannot_be_vectorised(batch: Any) -> Tensor:
        return update.loss(batch) * float(batch.images.sum())

    stubborn = replace(update, loss=cannot_be_vectorised)
    assert faster_mode(stubborn, batches, torch.device("cpu")) is GradSampleMode.LOOP


# ------------------------------------------------------- why Opacus' own gradients of samples are not used: what fails


def patch_losses(network: nn.Module, images: Tensor, target: float) -> Tensor:
    scores: Tensor = network(images)
    return (scores - target).square().mean(dim=(1, 2, 3))


def test_two_backward_passes_clip_real_and_generated_apart() -> None:
    """The reason why a patient's loss is one scalar here: Opacus' hooks would bound each half, not the patient."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)).double()
    real = 3 + torch.rand(1, 1, 8, 8).double()
    hooked = GradSampleModule(network, loss_reduction="sum")
    optimiser = DPOptimizer(
        torch.optim.SGD(network.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=1.0,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    patch_losses(hooked, real, 40.0).sum().backward()  # type: ignore[no-untyped-call]
    patch_losses(hooked, real + 0.01, 41.0).sum().backward()  # type: ignore[no-untyped-call]
    assert all(isinstance(p.grad_sample, list) for p in network.parameters())  # type: ignore[attr-defined]
    optimiser.clip_and_accumulate()
    apart = torch.cat([p.summed_grad.flatten() for p in network.parameters()]).norm()  # type: ignore[attr-defined]
    assert float(apart) > 1.5

    from common.training.classifier import ClassifierBatch

    plain = copy.deepcopy(network)
    for parameter in plain.parameters():
        for name in ("grad_sample", "summed_grad"):
            if hasattr(parameter, name):
                delattr(parameter, name)
    stripped = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)).double()
    stripped.load_state_dict(network.state_dict())

    def both(batch: ClassifierBatch) -> Tensor:
        halves = patch_losses(stripped, batch.images, 40.0) + patch_losses(stripped, batch.images + 0.01, 41.0)
        return halves.mean()

    update = PatientUpdate("both", {"both": stripped}, both)
    found = patient_gradients(update, [Drawn(ClassifierBatch(real, torch.zeros(1) > 0), 0)], GradSampleMode.LOOP)
    scale = (1.0 / norms(found)).clamp(max=1.0)
    assert float((norms(found) * scale).max()) <= 1.0 + 1e-12


def test_gradients_of_an_earlier_step_do_not_stay() -> None:
    """A generator's step goes through its discriminator; nothing of it may be left for the discriminator's own."""
    trainer, slices = build("cgan")
    updates = {update.optimiser: update for update in trainer.patient_updates(slices.condition())}
    batches = draw_batches(trainer, slices)
    expected = naive(updates["discriminator"], batches)
    steps = {
        name: PrivateStep(
            torch.optim.SGD(update.parameters().values(), lr=0.0),
            update,
            sigma=0.0,
            max_grad_norm=1.0,
            expected=1,
            noise=PrivateRandom().stream(),
        )
        for name, update in updates.items()
    }
    steps["generator"].take(batches)
    for parameter in updates["discriminator"].parameters().values():
        assert parameter.grad is None
        assert getattr(parameter, "grad_sample", None) is None
    assert difference(patient_gradients(updates["discriminator"], batches, GradSampleMode.LOOP), expected) < 1e-12
