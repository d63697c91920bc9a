"""How sites of two domains add up to one CycleGAN: by examples within a domain, and both domains equally.

The CycleGAN objective is a sum of a term that needs images of the first domain only and one that needs images of the
second only. Each term is a mean over its domain's images, so several sites of a domain count by their numbers, and the
two domains count alike, however unequal they are (Song & Ye 2021).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from common.errors import StudyError
from common.networks.spectral import settle
from common.training.cyclegan_config import Config
from common.training.cyclegan_objective import Objective
from common.training.gan import GanTrainer
from common.training.kinds import GradientTrainer
from common.training.trainer import Contributor, View, mean_losses
from common.training.unpaired import SideBatch


def domain_shares(sites: Mapping[str, Contributor], domains: Sequence[View]) -> dict[str, float]:
    """Each site's share of its domain, by examples; the shares of a domain sum to 1.

    >>> a, b = View("brain", ("t1",)), View("brain", ("t2",))
    >>> sites = {"north": Contributor(a, 30), "east": Contributor(a, 10), "south": Contributor(b, 5)}
    >>> domain_shares(sites, (a, b))
    {'north': 0.75, 'east': 0.25, 'south': 1.0}
    """
    total = {view: sum(one.examples for one in sites.values() if one.view == view) for view in domains}
    return {site: one.examples / total[one.view] if total.get(one.view) else 0.0 for site, one in sites.items()}


def sum_of_domains(contributions: Mapping[str, Mapping[str, Tensor]], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The sites' arrays, each times its site's share, summed in the order of site names."""
    total: dict[str, Tensor] = {}
    for site in sorted(contributions):
        for key, value in contributions[site].items():
            part = value * shares[site]
            total[key] = total[key] + part if key in total else part
    return total


def require_both(domains: Sequence[View], views: Mapping[str, View]) -> None:
    """Refuses sites that do not show both domains: an unpaired translation needs images of each.

    Args:
        domains: the two sides.
        views: what each site shows.

    Raises:
        StudyError: naming the domain without a site, what the sites show, and what to change.
    """
    missing = [number for number, domain in enumerate(domains) if domain not in views.values()]
    if not missing:
        return
    lacking = " and ".join(f"{domains[n].name} (models.cyclegan.domains[{n}])" for n in missing)
    raise StudyError(
        f"CycleGAN needs sites of both domains, and no site shows {lacking}. {_shown(views.items())} "
        "Name domains that sites hold in models.cyclegan.domains, or add a site; a site that holds both counts for the "
        "first, unless its `contrasts` list the second's alone."
    )


def _shown(views: Iterable[tuple[str, View]]) -> str:
    each = "; ".join(f"{site} shows {view.name}" for site, view in sorted(views))
    return f"Sites: {each}." if each else "No site shows either."


class ExchangedCycleGan(GradientTrainer[SideBatch], GanTrainer[SideBatch]):
    """The part of CycleGAN's trainer by which gradients are exchanged at every step."""

    config: Config
    objective: Objective
    domains: tuple[View, View]

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
        return arrays, mean_losses(losses)

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
        self.follow(self.config.generator_steps)
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
