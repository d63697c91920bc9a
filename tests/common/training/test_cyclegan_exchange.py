"""Exchange of gradients against centralised CycleGAN, which is written out here once more, by hand."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.errors import StudyError
from common.networks.spectral import settle
from common.study.experiment import ImageConfig
from common.training.cyclegan import Config, SideBatch, Trainer
from common.training.cyclegan_exchange import domain_shares, sum_of_domains
from common.training.trainer import Contributor, View

T1, T2 = View("brain", ("t1",)), View("brain", ("t2",))
SMALL = Config(
    exchange="gradients",
    width=4,
    blocks=1,
    downsamplings=2,
    discriminator_width=4,
    discriminator_layers=1,
    learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    cycle_weight=10.0,
    identity_weight=3.0,
    identity_decay_steps=0,
    pool=0,
    ema=0.0,
)


def make(config: Config = SMALL, seed: int = 1) -> Trainer:
    """In float64, in which an identity of two sums can be told from a near miss."""
    organs = {"brain": ("t1",)}
    trainer = Trainer(config, image=ImageConfig(size=16), organs=organs, device=torch.device("cpu"), seed=seed)
    for network in trainer.networks.values():
        network.double()
    return trainer


def images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(side: int, count: int, seed: int) -> SideBatch:
    return SideBatch(side, images(count, seed), None, seed)


def joined(*batches: SideBatch) -> SideBatch:
    return replace(batches[0], images=torch.cat([one.images for one in batches]))


def gradients_by_hand(trainer: Trainer, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Zhu et al. 2017 with least squares, on pooled data: generators first, then both discriminators."""
    net = trainer.trained

    def translate(name: str, x: Tensor) -> Tensor:
        return torch.tanh(net[name](2 * x - 1)) / 2 + 0.5

    def logits(name: str, x: Tensor) -> Tensor:
        result: Tensor = net[name](2 * x - 1)
        return result

    fake_b, fake_a = translate("generator_ab", a), translate("generator_ba", b)
    generators = (
        ((logits("discriminator_b", fake_b) - 1) ** 2).mean()
        + ((logits("discriminator_a", fake_a) - 1) ** 2).mean()
        + 10 * (translate("generator_ba", fake_b) - a).abs().mean()
        + 10 * (translate("generator_ab", fake_a) - b).abs().mean()
        + 3 * (translate("generator_ba", a) - a).abs().mean()
        + 3 * (translate("generator_ab", b) - b).abs().mean()
    )
    discriminators = (
        ((logits("discriminator_a", a) - 1) ** 2).mean() / 2
        + (logits("discriminator_a", fake_a.detach()) ** 2).mean() / 2
        + ((logits("discriminator_b", b) - 1) ** 2).mean() / 2
        + (logits("discriminator_b", fake_b.detach()) ** 2).mean() / 2
    )
    found: dict[str, Tensor] = {}
    for loss, kind in ((generators, "generator"), (discriminators, "discriminator")):
        named = [(name, p) for name, p in trainer._parameters() if name.startswith(kind)]
        values = torch.autograd.grad(loss, [p for _, p in named])
        found |= {name: value for (name, _), value in zip(named, values, strict=True)}
    return found


def contributions(
    config: Config, batches: dict[str, SideBatch], sent: dict[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    given = {}
    for seed, (site, one) in enumerate(batches.items(), start=20):
        trainer = make(config, seed)
        trainer.load_shared_arrays(sent)
        given[site], _ = trainer.contribute([one])
    return given


def known(batches: dict[str, SideBatch]) -> dict[str, Contributor]:
    return {site: Contributor((T1, T2)[one.side], len(one.images)) for site, one in batches.items()}


TWO = {"north": batch(0, 3, 1), "south": batch(1, 3, 2)}
FIVE = {
    "a1": batch(0, 3, 1),
    "a2": batch(0, 1, 2),
    "b1": batch(1, 2, 3),
    "b2": batch(1, 5, 4),
    "b3": batch(1, 1, 5),
}


@pytest.mark.parametrize("sites", [TWO, FIVE], ids=["two sites", "five unequal sites"])
def test_the_sites_gradients_add_up_to_those_of_pooled_data(sites: dict[str, SideBatch]) -> None:
    coordinator = make()
    given = contributions(SMALL, sites, coordinator.shared_arrays())
    total = sum_of_domains(given, domain_shares(known(sites), coordinator.domains))
    a, b = (joined(*(one for one in sites.values() if one.side == side)).images for side in (0, 1))
    expected = gradients_by_hand(coordinator, a, b)
    assert total.keys() == expected.keys()
    assert {key.partition(".")[0] for key in total} == set(coordinator.trained)
    for key, value in expected.items():
        assert (total[key] - value).abs().max() < 1e-6 * max(1.0, float(value.abs().max())), key
    for network in coordinator.trained:
        assert max(value.abs().max() for key, value in total.items() if key.startswith(network)) > 1e-4


@pytest.mark.parametrize("sites", [TWO, FIVE], ids=["two sites", "five unequal sites"])
def test_absorbing_is_one_step_of_centralised_training(sites: dict[str, SideBatch]) -> None:
    config = replace(SMALL, ema=0.9, decay_steps=4, identity_decay_steps=5)
    coordinator, central = make(config), make(config)
    clients = {site: make(config, seed=7) for site in sites}
    for _ in range(3):
        sent = coordinator.shared_arrays()
        given = {}
        for site, client in clients.items():
            client.load_shared_arrays(sent)
            given[site], _ = client.contribute([sites[site]])
        coordinator.absorb(given, known(sites))
        central.pooled_step(*(joined(*(one for one in sites.values() if one.side == side)) for side in (0, 1)))
    assert coordinator.steps_done == central.steps_done == 3
    ours, theirs = coordinator.shared_arrays(), central.shared_arrays()
    start = make(config).shared_arrays()
    for key in ours:
        # The scale is the learning rate: what an Adam step moves a weight by.
        assert (ours[key] - theirs[key]).abs().max() < 1e-3 * config.learning_rate, key
    assert any((ours[key] - start[key]).abs().max() > config.learning_rate for key in ours)


def test_a_pooled_step_is_one_adam_step_along_the_gradients_by_hand() -> None:
    trainer, reference = make(), make()
    trainer.pooled_step(TWO["north"], TWO["south"])
    expected = gradients_by_hand(reference, TWO["north"].images, TWO["south"].images)
    optimiser = torch.optim.Adam([p for _, p in reference._parameters()], lr=2e-4, betas=(0.5, 0.999))
    for name, parameter in reference._parameters():
        parameter.grad = expected[name]
    optimiser.step()
    ours, theirs = trainer.shared_arrays(), reference.shared_arrays()
    assert all((ours[key] - theirs[key]).abs().max() < 1e-7 for key in ours)
    with pytest.raises(ValueError, match="domains 0 and 1"):
        trainer.pooled_step(TWO["south"], TWO["north"])


def test_a_contribution_is_the_mean_over_its_batches_and_moves_nothing() -> None:
    trainer = make()
    sent = trainer.shared_arrays()
    one, _ = trainer.contribute([batch(0, 2, 1)])
    other, _ = trainer.contribute([batch(0, 2, 2)])
    both, losses = trainer.contribute([batch(0, 2, 1), batch(0, 2, 2)])
    for key, value in both.items():
        torch.testing.assert_close(value, (one[key] + other[key]) / 2)
    assert set(losses) == {"adversarial", "cycle", "identity", "discriminator"}
    assert all(torch.equal(value, sent[key]) for key, value in trainer.shared_arrays().items())


def test_what_arrives_can_be_checked_against_what_is_expected() -> None:
    for config in (SMALL, replace(SMALL, generator_steps=3)):
        trainer = make(config)
        expected = trainer.expected_contribution()
        present = trainer.shared_arrays()
        for key, value in expected.items():
            sent_as_weight = config.generator_steps > 1 and key.startswith("generator")
            assert torch.equal(value, present[key] if sent_as_weight else torch.zeros_like(value))
            assert not value.requires_grad
        given, _ = trainer.contribute([batch(0, 2, seed) for seed in range(config.generator_steps)])
        assert {key: value.shape for key, value in given.items()} == {k: v.shape for k, v in expected.items()}


def test_generators_that_train_at_the_sites_are_averaged_and_discriminators_step_once() -> None:
    config = replace(SMALL, generator_steps=2, ema=0.9)
    coordinator = make(config)
    sent = coordinator.shared_arrays()
    sites = {"a1": (0, 30), "a2": (0, 10), "b": (1, 5)}
    given, trained, means = {}, {}, {}
    for seed, (site, (side, _)) in enumerate(sites.items()):
        trainer, reference = make(config, 5), make(replace(config, generator_steps=1), 5)
        batches = [batch(side, 2, 100 + 10 * seed + step) for step in range(2)]
        trainer.load_shared_arrays(sent)
        given[site], _ = trainer.contribute(batches)
        # The same by one contribution a step, with the generators' steps taken here.
        reference.load_shared_arrays(sent)
        parts = []
        for one in batches:
            parts.append(reference.contribute([one])[0])
            reference.optimisers["generator"].step()
        trained[site] = reference.shared_arrays()
        means[site] = {key: (parts[0][key] + parts[1][key]) / 2 for key in parts[0]}
    coordinator.absorb(given, {site: Contributor((T1, T2)[side], n) for site, (side, n) in sites.items()})
    share = {"a1": 0.75, "a2": 0.25, "b": 1.0}
    result = coordinator.shared_arrays()
    stepping = make(config)
    for name, parameter in stepping._parameters():
        if name.startswith("generator"):
            average = sum(trained[site][name] * share[site] for site in share) / 2
            torch.testing.assert_close(result[name], average, rtol=0, atol=1e-9)
        else:
            parameter.grad = sum((means[site][name] * share[site] for site in share), torch.zeros(()))
    stepping.optimisers["discriminator"].step()
    for name, value in stepping.shared_arrays().items():
        if name.startswith("discriminator"):
            torch.testing.assert_close(result[name], value, rtol=0, atol=1e-7)
    assert coordinator.steps_done == 2
    key = "layers.0.convolution.weight"
    assert not torch.equal(result[f"generator_ab_ema.{key}"], sent[f"generator_ab_ema.{key}"])


@pytest.mark.parametrize("generator_steps", [1, 2])
def test_a_resumed_exchange_equals_an_uninterrupted_one(generator_steps: int) -> None:
    """Coordinator and sites are built anew in the middle, image pools and moving averages included."""
    config = replace(SMALL, generator_steps=generator_steps, pool=3, ema=0.9, decay_steps=8)

    def exchanges(parties: dict[str, Trainer], numbers: range) -> None:
        for number in numbers:
            sent = parties["coordinator"].shared_arrays()
            given = {}
            for side, site in enumerate(("north", "south")):
                parties[site].load_shared_arrays(sent)
                seeds = range(1000 * side + 10 * number, 1000 * side + 10 * number + generator_steps)
                given[site], _ = parties[site].contribute([batch(side, 2, seed) for seed in seeds])
            parties["coordinator"].absorb(given, {"north": Contributor(T1, 4), "south": Contributor(T2, 4)})

    names = ("coordinator", "north", "south")
    whole = {name: make(config) for name in names}
    exchanges(whole, range(6))
    first = {name: make(config) for name in names}
    exchanges(first, range(3))
    second = {name: make(config, seed=9) for name in names}
    for name in names:
        second[name].load_shared_arrays(first[name].shared_arrays())
        second[name].load_private_state(first[name].private_state())
    assert len(second["north"].objective.pools[1]) == 3
    exchanges(second, range(3, 6))
    for name in names:
        for ours, theirs in (
            (second[name].shared_arrays(), whole[name].shared_arrays()),
            (second[name].private_state(), whole[name].private_state()),
        ):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_order_of_the_replies_does_not_matter() -> None:
    given = contributions(SMALL, FIVE, make().shared_arrays())
    results = []
    for sites in (list(given), list(reversed(given))):
        coordinator = make()
        coordinator.absorb({site: given[site] for site in sites}, known(FIVE))
        results.append(coordinator.shared_arrays())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_a_site_that_did_not_reply_leaves_its_share_to_its_domain() -> None:
    given = contributions(SMALL, FIVE, make().shared_arrays())
    replied = {site: given[site] for site in ("a1", "b2")}
    coordinator, central = make(), make()
    coordinator.absorb(replied, known(FIVE))
    central.pooled_step(FIVE["a1"], FIVE["b2"])
    ours, theirs = coordinator.shared_arrays(), central.shared_arrays()
    assert all((ours[key] - theirs[key]).abs().max() < 1e-7 for key in ours)


def test_no_step_is_taken_without_one_of_the_domains() -> None:
    coordinator = make()
    start = coordinator.shared_arrays()
    given = contributions(SMALL, {"north": TWO["north"]}, start)
    with pytest.raises(StudyError, match=r"no site shows brain t2 .* north shows brain t1"):
        coordinator.absorb(given, known(TWO))
    assert all(torch.equal(value, start[key]) for key, value in coordinator.shared_arrays().items())


def test_spectral_norm_follows_the_weights_though_the_coordinator_sees_no_image() -> None:
    """Its discriminators are stepped without a forward pass, and the sites start each exchange from what it sends."""
    config = replace(SMALL, spectral_norm=True, discriminator_learning_rate=1e-2)
    coordinator = make(config)
    for step in range(30):
        batches = {"north": batch(0, 2, step), "south": batch(1, 2, 100 + step)}
        coordinator.absorb(contributions(config, batches, coordinator.shared_arrays()), known(TWO))
    for network in coordinator.objective.discriminators:
        network.eval()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_with_spectral_norm_the_exchange_is_centralised_training_up_to_the_power_iteration() -> None:
    config = replace(SMALL, spectral_norm=True)
    coordinator, central = make(config), make(config)
    for network in (*coordinator.objective.discriminators, *central.objective.discriminators):
        settle(network, 200)
    start = coordinator.shared_arrays()
    coordinator.absorb(contributions(config, TWO, start), known(TWO))
    central.pooled_step(TWO["north"], TWO["south"])
    ours, theirs = coordinator.shared_arrays(), central.shared_arrays()
    for key in ours:
        if not key.endswith(("left", "right")):
            assert (ours[key] - theirs[key]).abs().max() < 1e-6


@pytest.mark.slow
def test_both_exchanges_come_close_to_pooled_data_and_plain_averaging_does_not() -> None:
    """The benchmark's toy with known answers, one seed."""
    toy: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "cyclegan_exchange.py"))
    steps = 400
    score = {name: sum(toy["scores"](method(steps, 1))) / 2 for name, method in toy["METHODS"].items()}
    nothing = sum(toy["unchanged"]()) / 2
    assert score["centralised"] > nothing + 5
    assert score["gradients, K=1"] == pytest.approx(score["centralised"], abs=1.0)
    # Proxies that are blurred and noisy cost about 3 dB: 3.2 with this seed.
    for name, cost in (("gradients, K=5", 3), ("proxies", 3.5)):
        assert score[name] > score["centralised"] - cost
        assert score[name] > nothing + 3
    # What averaging learns is worth no more than answering every image with the mean of the other domain's.
    assert score["average"] < sum(toy["mean_image"]()) / 2 + 1
