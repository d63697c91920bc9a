"""CycleGAN (Zhu et al. 2017): unpaired translation between two domains, of which a site needs to hold one only.

Every loss needs real images of one domain only, so the objective is a sum over sites. What stands in the way of plain
averaging is the discriminator of the *other* domain: a site has generated images for it and no real ones. Three ways:

* ``gradients`` (Song & Ye 2021): all gradients are taken at the weights that were sent, summed, and the coordinator
  takes the step. With one generator step an exchange this is centralised CycleGAN. Gradients of single batches can be
  inverted, so this is for simulation.
* ``proxies``: each domain's sites release a synthetic set once; a discriminator is then trained only where its domain
  is real, against translations of the other domain's synthetic images. Weights are averaged every round.
* ``average``: every site trains everything on what it has. It fails, and is kept as the baseline.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from common.conditions import condition_code
from common.errors import ConfigError, DataError
from common.experiment import ImageConfig, WeightsConfig
from common.imaging.slices import Slices
from common.networks.spectral import settle
from common.seeding import derive_seed
from common.training.augmentation import random_crops
from common.training.cyclegan_config import Config, DomainConfig, check_config, domain_pair
from common.training.cyclegan_exchange import domain_shares, require_both, sum_of_domains
from common.training.cyclegan_objective import Objective
from common.training.ema import averaged_copy, update_average
from common.training.kinds import GradientTrainer, ProxySource, ProxyTrainer, TranslatingTrainer
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate
from common.training.schedule import RateSchedule
from common.training.trainer import Contributor, Exchange, OptimiserStep, View, plain_step
from common.training.unpaired import SideBatch, SideShape, draw_side

__all__ = ["Config", "DomainConfig", "SideBatch", "Trainer"]

LETTERS = ("a", "b")


class Trainer(
    TranslatingTrainer[SideBatch], GradientTrainer[SideBatch], ProxyTrainer[SideBatch], PatientTrainer[SideBatch]
):
    """Trains both generators and both discriminators on the domain that one site holds.

    Args:
        config: the model's choices.
        image: size of a slice.
        organs: contrasts of a slice by organ in the study; the domains name their own, so they do not matter here.
        device: where the networks live.
        step: takes the place of ``optimizer.step()``.
        weights: files of pre-trained weights; none are used.
        seed: of the first weights; the same seed gives the same weights on every machine.

    Raises:
        ConfigError: for values that cannot work together.
    """

    # Which one is a choice of the configuration here, so it belongs to the instance.
    exchange: Exchange  # type: ignore[misc]

    def __init__(
        self,
        config: Config,
        *,
        image: ImageConfig,
        organs: Mapping[str, tuple[str, ...]],
        device: torch.device,
        step: OptimiserStep = plain_step,
        weights: WeightsConfig | None = None,
        seed: int,
    ) -> None:
        super().__init__(device=device, step=step)
        check_config(config, image)
        self.config: Config = config
        self.exchange = Exchange(config.exchange)
        self.batches_per_exchange = config.generator_steps
        self.domains = self.sides(config)
        self.shape = SideShape(config.batch_size, min(config.crop or image.size, image.size), config.flip)
        self.objective = Objective(config, len(self.domains[0].contrasts), device, seed)
        generators, discriminators = self.objective.generators, self.objective.discriminators
        self.trained: dict[str, nn.Module] = {
            "generator_ab": generators[0],
            "generator_ba": generators[1],
            "discriminator_a": discriminators[0],
            "discriminator_b": discriminators[1],
        }
        self.averages = [averaged_copy(network) for network in generators] if config.ema > 0 else []
        averages = dict(zip(("generator_ab_ema", "generator_ba_ema"), self.averages, strict=False))
        self.networks = {**self.trained, **averages}
        self.schedule = RateSchedule(
            {"generator": config.learning_rate, "discriminator": config.discriminator_learning_rate},
            config.decay_steps,
        )
        self.optimisers = {
            "generator": self._adam(generators, config.learning_rate),
            "discriminator": self._adam(discriminators, config.discriminator_learning_rate),
        }
        self.proxies: Tensor | None = None

    def _adam(self, networks: Sequence[nn.Module], rate: float) -> torch.optim.Adam:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        return torch.optim.Adam(parameters, lr=rate, betas=(self.config.betas[0], self.config.betas[1]))

    # ------------------------------------------------------------------ who takes part

    @classmethod
    def check_config(cls, config: Config, image: ImageConfig, key: str = "model") -> None:
        """As :func:`check_config` says."""
        check_config(config, image, key)

    @classmethod
    def sides(cls, config: Config) -> tuple[View, View]:
        """The two domains; ``ConfigError`` if they are not two different ones with equally many contrasts."""
        return domain_pair(config)

    @classmethod
    def view(cls, config: Config, study: Mapping[str, tuple[str, ...]], organ: str, held: Sequence[str]) -> View | None:
        """The first domain of this organ all of whose contrasts the site holds."""
        for domain in cls.sides(config):
            if domain.organ == organ and organ in study and set(domain.contrasts) <= set(held):
                return domain
        return None

    @classmethod
    def check_views(cls, config: Config, views: Mapping[str, View]) -> None:
        """Raises ``StudyError`` unless each domain has a site."""
        require_both(cls.sides(config), views)

    @classmethod
    def proxy_source(cls, config: Config) -> ProxySource | None:
        """``proxy_model``'s ``proxy_slices``, with ``exchange: proxies``."""
        if config.exchange != Exchange.PROXIES:
            return None
        return ProxySource(config.proxy_model, config.proxy_slices)

    @classmethod
    def proxied_view(cls, config: Config, view: View) -> View:
        """The other domain."""
        first, second = cls.sides(config)
        return second if view == first else first

    def averaging_weights(self, network: str, sites: Mapping[str, Contributor]) -> dict[str, float]:
        """By examples within a domain, both domains equally; with proxies, a discriminator counts where it is trained.

        With ``average``: plainly by examples.
        """
        if self.exchange is Exchange.AVERAGE:
            return super().averaging_weights(network, sites)
        shares = domain_shares(sites, self.domains)
        if self.exchange is Exchange.PROXIES and network.startswith("discriminator_"):
            own = self.domains[LETTERS.index(network.removeprefix("discriminator_"))]
            return {site: share if sites[site].view == own else 0.0 for site, share in shares.items()}
        return shares

    def shared_networks(self) -> dict[str, nn.Module]:
        """All of them.

        Raises:
            ConfigError: if discriminators were to stay at the site: none has real images for both.
        """
        if self.generators_only:
            raise ConfigError(
                "federation.share=generator: the discriminators of CycleGAN must be shared; set it to all"
            )
        return super().shared_networks()

    # ------------------------------------------------------------------ examples

    def give_proxies(self, images: Tensor) -> None:
        """Hands the site the other domain's synthetic slices (N, C, H, W) in [0, 1], for ``Exchange.PROXIES``.

        Raises:
            ValueError: if there are none, or they have another number of channels.
        """
        channels = len(self.domains[0].contrasts)
        if images.ndim != 4 or len(images) == 0 or images.shape[1] != channels:
            raise ValueError(f"expected synthetic slices (N, {channels}, H, W), got {tuple(images.shape)}")
        self.proxies = images.float().cpu()

    @classmethod
    def check_slices(cls, config: Config, slices: Slices) -> None:
        """Raises ``DataError`` for too few slices."""
        if len(slices) < max(1, config.min_slices):
            name = View(slices.organ, tuple(slices.contrasts)).name
            raise DataError(f"only {len(slices)} slices of {name}, and {config.min_slices} are needed")

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[SideBatch]:
        """``count`` batches of random slices of one domain, or of random crops of them.

        Raises:
            DataError: if the slices are of neither domain, too few, or the other domain's proxies are missing.
        """
        view = View(slices.organ, tuple(slices.contrasts))
        first, second = self.domains
        if view not in self.domains:
            raise DataError(f"slices of {view.name} belong to neither {first.name} nor {second.name}")
        self.check_slices(self.config, slices)
        side = self.domains.index(view)
        proxies = self.proxies if self.exchange is Exchange.PROXIES else None
        if self.exchange is Exchange.PROXIES and proxies is None:
            raise DataError(f"no synthetic slices of {self.domains[1 - side].name} are here, and proxies need them")
        seeds = (derive_seed(seed, "cyclegan", "batch", index) for index in range(count))
        return (draw_side(slices, side, proxies, self.shape, each) for each in seeds)

    # ------------------------------------------------------------------ training

    def train_step(self, batch: SideBatch) -> dict[str, Tensor]:
        """One step of what the site can train, by its own optimisers."""
        losses = self.objective.add_gradients(batch, self.steps_done)
        for optimiser in self.optimisers.values():
            self.step(optimiser)
        return losses

    def pretrain(self, sources: Sequence[Slices], steps: int, seed: int) -> dict[str, float]:
        """Steps of centralised CycleGAN on public slices of both domains.

        Raises:
            DataError: if one of them is missing.
        """
        by_view = {View(one.organ, tuple(one.contrasts)): one for one in sources}
        lacking = [domain.name for domain in self.domains if domain not in by_view]
        if lacking:
            raise DataError(f"pre-training needs public slices of {' and '.join(lacking)}")
        pairs = (
            [
                draw_side(by_view[domain], side, None, self.shape, derive_seed(seed, "pretraining", step, side))
                for side, domain in enumerate(self.domains)
            ]
            for step in range(steps)
        )
        self.to_training_mode()
        totals: dict[str, float] = defaultdict(float)
        for first, second in pairs:
            for name, value in self.pooled_step(first, second).items():
                totals[name] += value / steps
        return dict(totals)

    def begin_step(self) -> None:
        """The rates of this step, and no gradients."""
        self.schedule.apply(self.optimisers, self.steps_done)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

    def end_step(self) -> None:
        """The averaged generators follow."""
        self._follow()
        super().end_step()

    def _follow(self, steps: int = 1) -> None:
        for average, network in zip(self.averages, self.objective.generators, strict=False):
            update_average(average, network, self.config.ema**steps, self.steps_done)

    def pooled_step(self, first: SideBatch, second: SideBatch) -> dict[str, float]:
        """One step of centralised CycleGAN on pooled data: ``first`` of domain 0, ``second`` of domain 1; mean losses.

        Raises:
            ValueError: if the batches are not of those domains.
        """
        if (first.side, second.side) != (0, 1):
            raise ValueError(f"expected batches of domains 0 and 1, got {first.side} and {second.side}")
        self.begin_step()
        both = (replace(batch, proxies=None) for batch in (first, second))
        losses = [self.objective.add_gradients(batch, self.steps_done) for batch in both]
        for optimiser in self.optimisers.values():
            self.step(optimiser)
        self.end_step()
        return _means(losses)

    # ------------------------------------------------------------------ one patient

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> SideBatch:
        """Random crops of the slices; with proxies, as many of the other domain's synthetic slices beside them.

        Raises:
            DataError: if the slices are of neither domain.
        """
        side = self._side(draw.condition)
        count, shape = len(draw.slices), self.shape
        (images,) = random_crops([draw.slices.images], shape.window, shape.flip, generator)
        other = None
        if self.exchange is Exchange.PROXIES and self.proxies is not None:
            chosen = torch.randint(len(self.proxies), (count,), generator=generator)
            (other,) = random_crops([self.proxies[chosen]], shape.window, shape.flip, generator)
        return SideBatch(side, images, other, 0)

    def _side(self, condition: Tensor) -> int:
        codes = [condition_code(domain.organ, domain.contrasts) for domain in self.domains]
        sides = [side for side in (0, 1) if torch.equal(codes[side], condition)]
        if not sides:
            raise DataError(f"these slices belong to neither {' nor '.join(domain.name for domain in self.domains)}")
        return sides[0]

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[SideBatch]]:
        """Both generators, then the discriminators; with proxies, only that of this site's domain."""

        def translate(batch: SideBatch) -> Tensor:
            return self.objective.generator_losses(batch, self.steps_done)[0]["total"]

        def judge(batch: SideBatch) -> Tensor:
            return self.objective.discriminator_loss(batch, self.objective.shown_images(batch))

        judged = "discriminator"
        if self.exchange is Exchange.PROXIES:
            judged = f"discriminator_{LETTERS[self._side(condition)]}"
        generators, discriminators = (
            {key: network for key, network in self.trained.items() if key.startswith(name)}
            for name in ("generator", judged)
        )
        return (
            PatientUpdate("generator", generators, translate),
            PatientUpdate("discriminator", discriminators, judge),
        )

    # ------------------------------------------------------------------ exchange of gradients

    @property
    def _generators_stay(self) -> bool:
        """Whether generators train at the sites between exchanges, and not at the coordinator."""
        return self.config.generator_steps > 1

    def contribute(self, batches: Iterable[SideBatch]) -> tuple[dict[str, Tensor], dict[str, float]]:
        """This site's part of the coordinator's next step.

        With ``generator_steps`` 1: the mean gradient over the batches of every network. Otherwise the generators take
        a step a batch and their weights are given, beside the mean gradient of the discriminators, which stay as sent.
        """
        self.begin_step()
        losses = []
        for batch in batches:
            if self._generators_stay:
                self.schedule.apply(self.optimisers, self.steps_done)
                self.optimisers["generator"].zero_grad()
            losses.append(self.objective.add_gradients(batch, self.steps_done))
            if self._generators_stay:
                self.step(self.optimisers["generator"])
                self.steps_done += 1
        if not self._generators_stay:
            self.steps_done += 1
        arrays = self.expected_contribution()
        for name, parameter in self._parameters():
            if not self._is_weight(name) and parameter.grad is not None:
                arrays[name] = parameter.grad.detach().cpu() / len(losses)
        return arrays, _means(losses)

    def expected_contribution(self) -> dict[str, Tensor]:
        """Zeros for a gradient, and the present weights of generators that train at the sites."""
        present = {name: parameter.detach().cpu().clone() for name, parameter in self._parameters()}
        return {name: value if self._is_weight(name) else torch.zeros_like(value) for name, value in present.items()}

    def absorb(self, contributions: Mapping[str, Mapping[str, Tensor]], sites: Mapping[str, Contributor]) -> None:
        """Takes the step that the contributions add up to: by examples within a domain, both domains summed.

        Raises:
            StudyError: if a domain did not contribute; its discriminator would see generated images only.
        """
        present = {site: sites[site] for site in contributions}
        self.check_views(self.config, {site: one.view for site, one in present.items()})
        total = sum_of_domains(contributions, domain_shares(present, self.domains))
        self.begin_step()
        with torch.no_grad():
            for name, parameter in self._parameters():
                value = total[name].to(parameter)
                if self._is_weight(name):
                    parameter.copy_(value / len(self.domains))
                else:
                    parameter.grad = value
        stepped = ("discriminator",) if self._generators_stay else ("generator", "discriminator")
        for name in stepped:
            self.step(self.optimisers[name])
        self._follow(self.config.generator_steps)
        self.steps_done += self.config.generator_steps
        for network in self.objective.discriminators:
            # No image passes through them here, and the sites start from what is sent.
            settle(network)

    def _is_weight(self, name: str) -> bool:
        return self._generators_stay and name.startswith("generator")

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, network in self.trained.items():
            for key, parameter in network.named_parameters():
                yield f"{name}.{key}", parameter

    # ------------------------------------------------------------------ images and state

    def translate(self, images: Tensor, source: int) -> Tensor:
        """(N, C, H, W) in [0, 1] on the CPU: ``images`` of domain ``source`` (0 or 1) as the other domain's.

        By the averaged generator, if ``ema`` is on.
        """
        network = self.averages[source] if self.averages else None
        with torch.no_grad():
            parts = [
                self.objective.generate(source, part.to(self.device), network).cpu() for part in torch.split(images, 32)
            ]
        return torch.cat(parts)

    def private_state(self) -> dict[str, Tensor]:
        """Optimisers, steps and image pools; the pools hold translated patients and never leave the site."""
        pools = {f"pool.{name}": pool.images() for name, pool in zip(LETTERS, self.objective.pools, strict=True)}
        return super().private_state() | {name: images for name, images in pools.items() if len(images)}

    def load_private_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes up where :meth:`private_state` left off; an empty mapping is a fresh start."""
        super().load_private_state(state)
        for name, pool in zip(LETTERS, self.objective.pools, strict=True):
            pool.load(state.get(f"pool.{name}", torch.zeros(0)), self.device)


def _means(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for one in losses:
        for name, value in one.items():
            totals[name] += float(value)
    return {name: value / len(losses) for name, value in totals.items()}
