"""What sites count in averages: by what all of them declare, or all alike."""

from typing import Literal

import pytest
import torch

from common.protocol.records import SiteHello
from common.study.config import compose
from common.study.models import model_of
from common.training.build import build_gan_trainer
from common.training.trainer import View
from server.averaging import Averaging
from server.gan import GanPlan, round_exchange
from server.gradients import Gradients
from server.roster import Member
from server.rounds import RoundExchange
from server.site_weights import mean_shares, shares_of, shares_told, site_weights

Unit = Literal["slices", "patients"] | None


def members(*declared: tuple[int, Unit]) -> list[Member]:
    return [
        Member(
            site,
            number,
            SiteHello(
                site=site,
                organ="brain",
                modality="MR",
                contrasts=["flair"],
                roles=["train"],
                tasks=["classifier"],
                examples=examples,
                examples_of=unit,
            ),
        )
        for number, (site, (examples, unit)) in enumerate(zip(("north", "south", "west"), declared, strict=True))
    ]


@pytest.mark.parametrize("unit", ["slices", "patients"])
def test_sites_that_all_declare_a_number_of_one_kind_count_by_it(unit: Literal["slices", "patients"]) -> None:
    weights = site_weights(members((48, unit), (1, unit), (30, unit)))
    assert (weights.by, weights.examples) == (unit, {"north": 48, "south": 1, "west": 30})
    assert weights.told == f"counting by their declared training {unit} in the average"


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        (((48, "slices"), (1, None), (48, "slices")), "because south declares no counts (declare_counts)"),
        (((48, "slices"), (1, None), (1, None)), "because south and west declare no counts (declare_counts)"),
        (((1, None), (1, None), (1, None)), "because none declares its counts"),
        (((480, "slices"), (20, "patients"), (480, "slices")), "because some declare slices and others patients"),
        # A number without a kind is none that was declared.
        (((480, None), (20, None), (480, None)), "because none declares its counts"),
    ],
)
def test_otherwise_all_count_alike_and_it_is_said_why(declared: tuple[tuple[int, Unit], ...], why: str) -> None:
    weights = site_weights(members(*declared))
    assert (weights.by, weights.examples) == ("sites", {"north": 1, "south": 1, "west": 1})
    assert weights.told == f"all counting alike in the average, {why}"


def test_networks_that_are_averaged_differently_are_told_apart() -> None:
    alike, other = {"north": 2.0, "south": 6.0}, {"south": 5.0}
    shares = shares_of({"generator": alike, "generator_ema": alike, "discriminator_b": other})
    assert shares_told(shares) == (
        "generator and generator_ema: north 25.0%, south 75.0%; discriminator_b: south 100.0%"
    )


def test_a_mean_over_rounds_counts_a_missing_site_as_nothing() -> None:
    rounds = [shares_of({"g": {"north": 1, "south": 1}}), shares_of({"g": {"south": 1}})]
    assert [one.sites for one in mean_shares(rounds)] == [{"north": 0.25, "south": 0.75}]
    assert mean_shares([]) == []


@pytest.mark.parametrize("alike", ["true", "false"])
def test_a_gan_that_is_averaged_counts_its_sites_so(alike: str) -> None:
    exchange = exchange_of("cgan", f"models.cgan.balance_organs={alike}", "models.cgan.perceptual_weight=0")
    assert isinstance(exchange, Averaging)
    assert exchange.examples == {"north": 1, "south": 1, "west": 1}
    assert exchange.weighting is not None
    of_sites = exchange.weighting("generator")
    assert len(set(of_sites.values())) == 1
    assert set(of_sites) == {"north", "south", "west"}


def test_a_gan_whose_sites_exchange_gradients_counts_them_so() -> None:
    exchange = exchange_of("cyclegan", "models.cyclegan.exchange=gradients")
    assert isinstance(exchange, Gradients)
    assert {site: one.examples for site, one in exchange.sites.items()} == {"north": 1, "south": 1, "west": 1}


def exchange_of(name: str, *overrides: str) -> RoundExchange:
    """How a GAN is trained by three sites of which the second declares no number."""
    small = (f"models.{name}.width=4", "image.size=32", f"models.{name}.crop=32")
    experiment = compose(["preset=demo", f"model=[{name}]", *small, *overrides])
    trainer = build_gan_trainer(experiment, name, device=torch.device("cpu"), weights=experiment.weights)
    sites = members((48, "slices"), (1, None), (30, "slices"))
    views = {one.site: View("brain", ("flair",)) for one in sites}
    return round_exchange(trainer, GanPlan(model_of(experiment, name), sites, views, {}), experiment.strategy)
