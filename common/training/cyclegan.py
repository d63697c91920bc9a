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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from common.errors import ConfigError, DataError
from common.export.card import Port
from common.export.loading import grey_values
from common.export.recipe import Recipe, output_port
from common.imaging.slices import Slices
from common.networks.resnet_generator import ResnetGenerator
from common.seeding import Label, derive_seed
from common.study.conditions import condition_code
from common.study.experiment import ImageConfig, WeightsConfig
from common.training.cyclegan_config import Config, DomainConfig, domain_pair
from common.training.cyclegan_exchange import ExchangedCycleGan, domain_shares, require_both
from common.training.cyclegan_objective import Objective
from common.training.gan import patch_discriminator
from common.training.kinds import ProxySource, ProxyTrainer, TranslatingTrainer
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate
from common.training.sizes import require_halvings, require_patches, window_of
from common.training.trainer import Contributor, Exchange, View, mean_losses
from common.training.unpaired import SideBatch, SideShape, cut_side, draw_side

__all__ = ["Config", "DomainConfig", "SideBatch", "Trainer"]

LETTERS = ("a", "b")


class Trainer(TranslatingTrainer[SideBatch], ExchangedCycleGan, ProxyTrainer[SideBatch], PatientTrainer[SideBatch]):
    """Trains both generators and both discriminators on the domain that one site holds."""

    family = "cyclegan"
    config: Config
    # Which one is a choice of the configuration here, so it belongs to the instance.
    exchange: Exchange  # type: ignore[misc]

    @classmethod
    def check_config(cls, config: Config, image: ImageConfig, key: str = "model") -> None:
        """Also refuses domains that are not two, and networks that do not fit on the slices."""
        super().check_config(config, image, key)
        domain_pair(config, key)
        window = window_of(config.crop, image)
        require_halvings(key, config, window, image)
        require_patches(key, config, window)

    @classmethod
    def count_channels(cls, config: Config, organs: Mapping[str, tuple[str, ...]]) -> int:
        """Those of the domains."""
        return len(config.domains[0].contrasts)

    @classmethod
    def recipes(cls, config: Config, *, size: int, channels: int) -> dict[str, Recipe]:
        """A ResNet each way."""
        first, second = (domain.name for domain in cls.sides(config))
        return {
            f"generator_{way}": Recipe(
                ResnetGenerator,
                {
                    "in_channels": channels,
                    "out_channels": channels,
                    "width": config.width,
                    "blocks": config.blocks,
                    "downsamplings": config.downsamplings,
                },
                task=f"Translates a slice of {before} into one that looks like {after}.",
                inputs=(Port(name="x", shape=f"(B, {channels}, H, W)", meaning=f"{before}, grey values in [-1, 1]"),),
                output=output_port(channels),
                companions=(grey_values,),
            )
            for way, before, after in (("ab", first, second), ("ba", second, first))
        }

    def build_adversaries(self) -> dict[str, nn.Module]:
        """A discriminator each domain."""
        return {f"discriminator_{letter}": patch_discriminator(self.config, self.channels) for letter in LETTERS}

    def set_up(self, weights: WeightsConfig | None) -> None:
        """The losses, the shape of the examples, and how sites work together."""
        c = self.config
        self.exchange = Exchange(c.exchange)
        self.batches_per_exchange = c.generator_steps
        self.domains = self.sides(c)
        self.shape = SideShape(c.batch_size, window_of(c.crop, self.image), c.flip)
        self.objective = Objective(c, self.trained, self.run)
        self.proxies: Tensor | None = None

    # ------------------------------------------------------------------ who takes part

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
        seeds = (derive_seed(seed, Label.CYCLEGAN, Label.BATCH, index) for index in range(count))
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
                draw_side(by_view[domain], side, None, self.shape, derive_seed(seed, Label.PRETRAINING, step, side))
                for side, domain in enumerate(self.domains)
            ]
            for step in range(steps)
        )
        self.to_training_mode()
        return mean_losses(self.pooled_step(first, second) for first, second in pairs)

    def begin_step(self) -> None:
        """The rates of this step, and no gradients."""
        super().begin_step()
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()

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
        return mean_losses(losses)

    # ------------------------------------------------------------------ one patient

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> SideBatch:
        """Random crops of the slices; with proxies, as many of the other domain's synthetic slices beside them.

        Raises:
            DataError: if the slices are of neither domain.
        """
        proxies = self.proxies if self.exchange is Exchange.PROXIES else None
        return cut_side(draw.slices.images, self._side(draw.condition), proxies, self.shape, generator)

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
        return (
            PatientUpdate("generator", self.networks_of("generator"), translate),
            PatientUpdate("discriminator", self.networks_of(judged), judge),
        )

    # ------------------------------------------------------------------ images and state

    def translate(self, images: Tensor, source: int) -> Tensor:
        """(N, C, H, W) in [0, 1] on the CPU: ``images`` of domain ``source`` (0 or 1) as the other domain's.

        By the averaged generator, if ``ema`` is on.
        """
        network = self.averaged(("generator_ab", "generator_ba")[source])
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
