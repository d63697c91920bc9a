from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import ConfigError, DataError, StudyError
from common.imaging.slices import PatientSlices, Slices
from common.study.config import compose
from common.study.experiment import ImageConfig
from common.study.models import model_of
from common.training.cyclegan import Config, DomainConfig, Trainer
from common.training.trainer import Contributor, EvaluationProtocol, Exchange, View

T1, T2 = View("brain", ("t1",)), View("brain", ("t2",))
SMALL = Config(
    exchange="gradients",
    width=4,
    blocks=1,
    downsamplings=2,
    discriminator_width=4,
    discriminator_layers=1,
    batch_size=2,
    learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    cycle_weight=10.0,
    identity_weight=5.0,
    identity_decay_steps=300,
    pool=3,
    ema=0.9,
)
STUDY = {"brain": ("t1",)}


def make(config: Config = SMALL, seed: int = 1) -> Trainer:
    return Trainer(config, image=ImageConfig(size=16), organs=STUDY, device=torch.device("cpu"), seed=seed)


def slices_of(contrasts: Sequence[str], organ: str = "brain", count: int = 6, seed: int = 0) -> Slices:
    """Discs of a grey value that tells the contrast, brighter to the left."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    images = np.zeros((count, len(contrasts), 16, 16), np.float16)
    for image in images:
        inside = np.hypot(rows - random.uniform(6, 10), columns - random.uniform(6, 10)) < random.uniform(4, 7)
        for channel, contrast in enumerate(contrasts):
            image[channel] = inside * ({"t1": 0.3, "t2": 0.8}.get(contrast, 0.5) - 0.01 * columns)
    nothing = np.zeros((count, 16, 16), np.uint8)
    return Slices(organ, tuple(contrasts), [PatientSlices("p", images, nothing, nothing + 1)])


A, B = slices_of(["t1"]), slices_of(["t2"], seed=1)


# ---------------------------------------------------------------------------------------------- who takes part


@pytest.mark.parametrize(
    ("organ", "held", "expected"),
    [
        ("brain", ["t1", "flair"], T1),
        ("brain", ["flair", "t2"], T2),
        ("brain", ["t2", "t1"], T1),
        ("brain", ["flair"], None),
        ("lung", ["t1"], None),
    ],
)
def test_a_site_shows_the_first_domain_that_it_holds(organ: str, held: list[str], expected: View | None) -> None:
    study = {"brain": ("flair",), "lung": ("ct",)}
    assert Trainer.view(SMALL, study, organ, held) == expected


def test_domains_may_be_different_organs() -> None:
    config = replace(SMALL, domains=[DomainConfig("brain", ["t1"]), DomainConfig("lung", ["ct"])])
    study = {"brain": ("flair",), "lung": ("ct",)}
    assert Trainer.view(config, study, "lung", ["ct"]) == View("lung", ("ct",))
    assert [view.name for view in Trainer.sides(config)] == ["brain t1", "lung ct"]


def test_sites_of_one_domain_only_are_told_what_is_missing_and_what_to_do() -> None:
    Trainer.check_views(SMALL, {"north": T1, "south": T2})
    with pytest.raises(StudyError) as told:
        Trainer.check_views(SMALL, {"north": T1, "east": T1})
    assert str(told.value).startswith(
        "CycleGAN needs sites of both domains, and no site shows brain t2 (models.cyclegan.domains[1]). "
        "Sites: east shows brain t1; north shows brain t1."
    )
    assert "`contrasts`" in str(told.value)
    with pytest.raises(StudyError, match=r"no site shows brain t1 \(.*\) and brain t2 .* No site shows either"):
        Trainer.check_views(SMALL, {})


def test_a_site_is_never_asked_for_a_contrast_that_it_does_not_hold() -> None:
    """Every exchange trains on slices of the one contrast that they were loaded with."""
    for exchange in Exchange:
        trainer = make(replace(SMALL, exchange=exchange.value))
        trainer.give_proxies(B.all().images)
        for slices, side in ((A, 0), (B, 1)):
            batches = list(trainer.batches(slices, 3, 1))
            real = slices.all().images
            assert {batch.side for batch in batches} == {side}
            for image in torch.cat([batch.images for batch in batches]):
                assert any(torch.equal(image, one) or torch.equal(image, one.flip(-1)) for one in real)
    with pytest.raises(DataError, match="slices of brain flair belong to neither brain t1 nor brain t2"):
        make().batches(slices_of(["flair"]), 1, 1)


SITES = {"a1": Contributor(T1, 30), "a2": Contributor(T1, 10), "b": Contributor(T2, 5)}


@pytest.mark.parametrize(
    ("exchange", "network", "expected"),
    [
        ("proxies", "discriminator_a", {"a1": 0.75, "a2": 0.25, "b": 0.0}),
        ("proxies", "discriminator_b", {"a1": 0.0, "a2": 0.0, "b": 1.0}),
        ("proxies", "generator_ab", {"a1": 0.75, "a2": 0.25, "b": 1.0}),
        ("proxies", "generator_ba_ema", {"a1": 0.75, "a2": 0.25, "b": 1.0}),
        ("average", "discriminator_a", {"a1": 30.0, "a2": 10.0, "b": 5.0}),
        ("average", "generator_ab", {"a1": 30.0, "a2": 10.0, "b": 5.0}),
    ],
)
def test_sites_count_by_examples_within_a_domain_and_domains_alike(
    exchange: str, network: str, expected: dict[str, float]
) -> None:
    assert make(replace(SMALL, exchange=exchange)).averaging_weights(network, SITES) == expected


def test_discriminators_cannot_stay_at_the_sites() -> None:
    trainer = make()
    trainer.generators_only = True
    with pytest.raises(ConfigError, match="share"):
        trainer.shared_arrays()


# ---------------------------------------------------------------------------------------------- examples


def test_whole_slices_or_crops_are_drawn() -> None:
    (whole,) = make().batches(A, 1, 1)
    assert whole.images.shape == (2, 1, 16, 16)
    cropping = make(replace(SMALL, crop=8, batch_size=40, flip=0.0))
    (crops,) = cropping.batches(A, 1, 1)
    assert crops.images.shape == (40, 1, 8, 8)
    places = set()
    windows = A.all().images.unfold(2, 8, 1).unfold(3, 8, 1).squeeze(1)
    for crop in crops.images:
        hits = (windows == crop).all(dim=(-1, -2)).nonzero()
        assert len(hits) > 0
        places |= {tuple(hit[1:].tolist()) for hit in hits}
    assert max(row for row, _ in places) == max(column for _, column in places) == 8


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_share_of_the_slices_is_mirrored(flip: float, mirrored: float) -> None:
    (batch,) = make(replace(SMALL, flip=flip, batch_size=200)).batches(slices_of(["t1"], count=4), 1, 1)
    left, right = batch.images[..., :8].sum(dim=(1, 2, 3)), batch.images[..., 8:].sum(dim=(1, 2, 3))
    unflipped = slices_of(["t1"], count=4).all().images
    known = {round(float(one[..., :8].sum() - one[..., 8:].sum()), 3) for one in unflipped}
    share = np.mean([round(float(one), 3) not in known for one in left - right])
    assert share == pytest.approx(mirrored, abs=0.12)


def test_sites_that_cannot_take_part_are_told_at_once() -> None:
    with pytest.raises(DataError, match="only 3 slices of brain t1, and 4 are needed"):
        make().batches(slices_of(["t1"], count=3), 1, 1)
    with pytest.raises(DataError, match="no synthetic slices of brain t2"):
        make(replace(SMALL, exchange="proxies")).batches(A, 1, 1)
    with pytest.raises(ValueError, match=r"expected synthetic slices \(N, 1, H, W\)"):
        make().give_proxies(torch.zeros(4, 2, 16, 16))


# ---------------------------------------------------------------------------------------------- training


def test_declares_how_it_is_shared_and_scored() -> None:
    trainer = make()
    assert (trainer.exchange, trainer.protocol) == (Exchange.GRADIENTS, EvaluationProtocol.CYCLE)
    assert make(replace(SMALL, exchange="proxies")).exchange is Exchange.PROXIES
    assert set(make(replace(SMALL, ema=0.0)).networks) == set(trainer.trained)
    assert set(trainer.networks) - set(trainer.trained) == {"generator_ab_ema", "generator_ba_ema"}
    assert set(trainer.optimisers) == {"generator", "discriminator"}
    assert trainer.domains == (T1, T2)


def test_the_two_generators_start_from_different_weights() -> None:
    one, other = (make().shared_arrays()[f"generator_{way}.layers.0.convolution.weight"] for way in ("ab", "ba"))
    assert not torch.equal(one, other)


def test_the_pool_never_crosses_the_wire() -> None:
    trainer = make()
    trainer.train(trainer.batches(A, 2, 1))
    names = {key.partition(".")[0] for key in trainer.shared_arrays()}
    assert names == set(trainer.networks)
    assert any(key.startswith("pool.") for key in trainer.private_state())
    contribution, _ = trainer.contribute(trainer.batches(A, 1, 1))
    assert {key.partition(".")[0] for key in contribution} == set(trainer.trained)


def test_translated_proxies_train_their_generator_too() -> None:
    """Beside the discriminator of the site's own domain, of which both halves are at the site."""
    moved = {}
    for weight in (0.0, 5.0):
        trainer = make(replace(SMALL, exchange="proxies", proxy_weight=weight, pool=0))
        trainer.give_proxies(B.all().images)
        (batch,) = trainer.batches(A, 1, 1)
        losses = trainer.objective.add_gradients(batch, 0)
        assert set(losses) == {"adversarial", "cycle", "identity", "proxy_adversarial", "discriminator"}
        moved[weight] = {name: p.grad.clone() for name, p in trainer._parameters() if p.grad is not None}
        assert {name.partition(".")[0] for name in moved[weight]} == set(trainer.trained) - {"discriminator_b"}
        real, made = batch.images, trainer.translate(batch.proxies, 1)  # type: ignore[arg-type]
        logits = [trainer.trained["discriminator_a"](one * 2 - 1) for one in (real, made)]
        expected = ((logits[0] - 1) ** 2).mean() / 2 + (logits[1] ** 2).mean() / 2
        torch.testing.assert_close(losses["discriminator"], expected)
        torch.testing.assert_close(losses["proxy_adversarial"], ((logits[1] - 1) ** 2).mean())
    differing = {name.partition(".")[0] for name in moved[0.0] if not torch.equal(moved[0.0][name], moved[5.0][name])}
    assert differing == {"generator_ba"}


def test_the_identity_term_is_left_out_when_its_weight_has_fallen_to_zero() -> None:
    trainer = make(replace(SMALL, identity_decay_steps=2))
    assert "identity" in trainer.train(trainer.batches(A, 2, 1))
    assert "identity" not in trainer.train(trainer.batches(A, 2, 1))


def test_learns_to_come_back() -> None:
    trainer = make(replace(SMALL, learning_rate=3e-3, width=8))
    before = trainer.train(trainer.batches(A, 5, 1))["cycle"]
    trainer.train(trainer.batches(A, 40, 2))
    assert trainer.train(trainer.batches(A, 5, 3))["cycle"] < 0.5 * before


def test_a_site_moves_only_what_its_exchange_lets_it_train() -> None:
    trainer = make(replace(SMALL, exchange="proxies"))
    trainer.give_proxies(B.all().images)
    start = trainer.shared_arrays()
    trainer.train(trainer.batches(A, 2, 1))
    moved = {
        key.partition(".")[0] for key, value in trainer.shared_arrays().items() if not torch.equal(value, start[key])
    }
    assert moved == set(trainer.networks) - {"discriminator_b"}


# ---------------------------------------------------------------------------------------------- images


def test_translates_in_both_directions_by_the_averaged_generators() -> None:
    trainer = make()
    images = A.all().images
    there, back = trainer.translate(images, 0), trainer.translate(images, 1)
    assert there.shape == back.shape == images.shape
    assert min(there.min(), back.min()) >= 0
    assert max(there.max(), back.max()) <= 1
    assert not torch.equal(there, back)
    with torch.no_grad():
        for parameter in trainer.networks["generator_ab"].parameters():
            parameter.zero_()
    assert torch.equal(trainer.translate(images, 0), there)
    plain = make(replace(SMALL, ema=0.0))
    assert torch.equal(plain.translate(images, 0), there)
    with torch.no_grad():
        for parameter in plain.networks["generator_ab"].parameters():
            parameter.zero_()
    assert not torch.equal(plain.translate(images, 0), there)


def test_works_for_several_contrasts() -> None:
    domains = [DomainConfig("brain", ["t1", "flair"]), DomainConfig("brain", ["t2", "t1ce"])]
    trainer = make(replace(SMALL, domains=domains))
    slices = slices_of(["t2", "t1ce"])
    trainer.train(trainer.batches(slices, 1, 1))
    assert trainer.translate(slices.all().images, 1).shape == (6, 2, 16, 16)


# ---------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"domains": [DomainConfig()]}, "domains=.*: must be two, got 1"),
        ({"domains": [DomainConfig(), DomainConfig()]}, "got brain t1 twice"),
        ({"domains": [DomainConfig(), DomainConfig("brain", ["t2", "flair"])]}, "equally many contrasts"),
        ({"proxy_slices": 1}, "proxy_slices=1: must be "),
        ({"exchange": "weights"}, "exchange=weights: must be one of average, gradients, proxies"),
        ({"generator_steps": 0}, "generator_steps"),
        ({"crop": 10}, "multiple of 4"),
        ({"downsamplings": 5}, "downsamplings=5: needs slices and crops of at least 64 pixels"),
        ({"flip": 2.0}, "flip"),
        ({"pool": -1}, "pool"),
        ({"adversarial": "relativistic"}, "relativistic"),
        ({"diffaugment": "solarise"}, "solarise"),
    ],
)
def test_choices_that_cannot_work_are_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(replace(SMALL, **change))  # type: ignore[arg-type]


def test_the_configured_model_is_the_default() -> None:
    configured = model_of(compose(["model=[cyclegan]"]), "cyclegan").config
    # The preset fits the first to its rounds, and simulates.
    assert replace(configured, decay_steps=0, exchange="proxies") == Config()
    assert make(replace(configured, generator_steps=3)).batches_per_exchange == 3


def test_the_papers_size_builds() -> None:
    config = replace(SMALL, width=64, blocks=9, discriminator_width=64, discriminator_layers=3, ema=0.0)
    with torch.device("meta"):
        trainer = Trainer(config, image=ImageConfig(size=256), organs=STUDY, device=torch.device("meta"), seed=1)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in trainer.networks.items()}
    assert sizes["generator_ab"] == pytest.approx(11.37e6, rel=2e-3)
    assert sizes["discriminator_b"] == pytest.approx(2.8e6, rel=0.05)
