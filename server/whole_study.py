"""A study looked at whole, by simulation and coordinator alike, before anything is prepared or handed over.

``common/study/config.py`` has looked at each value by itself. What follows is seen only where networks are built and
sites are known: their sizes, who trains what, folds. Nothing is computed: networks are built without their values.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from common.errors import ConfigError
from common.figures.formatting import listed
from common.imaging.split import part_sizes
from common.study.allowed import refused
from common.study.config import contrasts_by_organ
from common.study.experiment import Experiment, PrivacyConfig
from common.study.models import Model, model_of
from common.study.trials import trials_of
from common.training.build import (
    build_classifier_trainer,
    build_gan_trainer,
    model_exchange,
    proxy_source,
    site_view,
)
from common.training.sizes import require_classifier, window_of
from common.training.trainer import Trainer

MOST_WEIGHTS = 500_000_000
"""Of all networks of one training: 2 GB each way in every round, and four times that to train them."""

MOST_BYTES = 16 * 2**30
"""Of the first maps of one step; a step holds some tens of such maps."""

META = torch.device("meta")

USUAL_EPSILON = 100
"""From here on a budget protects nobody from an attack that is known."""


@dataclass(frozen=True)
class KnownSite:
    """What is known of a site beforehand.

    Attributes:
        name: of it.
        organ: that it has.
        contrasts: that it holds; None where they are not known.
        trains: whether it trains; None where that is not known.
        patients: how many it has; None where that is not known.
    """

    name: str
    organ: str
    contrasts: tuple[str, ...] | None = None
    trains: bool | None = None
    patients: int | None = None


def require_whole(experiment: Experiment, sites: Sequence[KnownSite]) -> None:
    """Refuses a study that could not be carried out as its configuration says.

    Args:
        experiment: composed.
        sites: that are to take part.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    for name in experiment.models:
        model = model_of(experiment, name)
        model_exchange(model)
        proxy_source(experiment, name)
        _require_size(f"models.{name}", _outline(experiment, name), model.config, experiment)
    _require_classifier(experiment)
    trials_of(experiment)
    _require_rates(experiment)
    _require_quorum(experiment, sites)
    require_folds(experiment, sites)


def require_folds(experiment: Experiment, sites: Sequence[KnownSite]) -> None:
    """Refuses more folds than a site has patients that do not test.

    Raises:
        ConfigError: naming the site.
    """
    folds = experiment.study.folds
    for site in sites:
        if not folds or site.patients is None or site.trains is False or site.organ not in experiment.organs:
            continue
        test, validation, train = part_sizes(site.patients, experiment.split)
        if validation + train < folds:
            raise refused(
                "study.folds",
                folds,
                f"{site.name} has {site.patients} patients, of whom {test} test; the other {validation + train} are "
                "too few to be shared out over so many folds; ask for fewer",
            )


def notes(experiment: Experiment) -> list[str]:
    """What a study does that its author may not have meant; nothing of it is wrong."""
    found = []
    if not experiment.study.arms:
        found.append("study.arms=[]: no classifier is trained; the study ends with its GANs")
    loops = {f"models.{name}": model_of(experiment, name).federation for name in experiment.models}
    if experiment.study.arms:
        loops["classifier"] = experiment.classifier.federation
    if passes := [name for name, loop in loops.items() if loop.local_steps == 0]:
        found.append(
            f"local_steps=0 ({', '.join(passes)}): a round is one pass over each site's own training slices, so sites "
            "with more slices take more steps"
        )
    privacy = experiment.privacy
    if privacy.mode != "none" and privacy.epsilon >= USUAL_EPSILON:
        found.append(
            f"privacy.epsilon={privacy.epsilon:g}: so large a budget is no protection to speak of; 1 to 10 is usual"
        )
    if privacy.mode == "none" and privacy.epsilon != PrivacyConfig().epsilon:
        found.append(
            f"privacy.epsilon={privacy.epsilon:g}: has no effect: this study is not private, privacy=patient_dp makes "
            "it so"
        )
    return found


def _outline(experiment: Experiment, name: str) -> Trainer[Any]:
    """The trainer of a model, its networks without values; what needs values or files to be built is left out."""
    bare = deepcopy(experiment)
    config = model_of(bare, name).config
    bare.models[name] |= {
        key: off for key, off in (("perceptual_weight", 0.0), ("spectral_norm", False)) if hasattr(config, key)
    }
    with META:
        trainer = build_gan_trainer(bare, name, device=META, weights=bare.weights)
        trainer.shared_networks()
    return trainer


def _require_size(key: str, trainer: Trainer[Any], config: Any, experiment: Experiment) -> None:
    count = sum(value.numel() for network in trainer.networks.values() for value in network.parameters())
    sizes = ", ".join(
        f"{key}.{name}={getattr(config, name)}"
        for name in sorted(vars(config), key=lambda name: name.startswith(("discriminator", "critic")))
        if name in ("depth", "blocks", "downsamplings", "noise_size") or name.endswith(("width", "layers"))
    )
    if count > MOST_WEIGHTS:
        raise ConfigError(
            f"{sizes}, image.size={experiment.image.size}: make networks of {count // 10**6:,} million weights; a "
            f"training may have {MOST_WEIGHTS // 10**6} million, so lower one of them"
        )
    window = window_of(getattr(config, "crop", 0), experiment.image)
    width = max((getattr(config, name) for name in vars(config) if name.endswith("width")), default=1)
    _require_memory(key, config.batch_size, window, width, sizes)


def _require_memory(key: str, batch_size: int, side: int, width: int, sizes: str) -> None:
    taken = 4 * batch_size * side**2 * width
    if taken > MOST_BYTES:
        raise refused(
            f"{key}.batch_size",
            batch_size,
            f"with slices or crops of {side} pixels and {sizes}, the first maps of one step take {taken / 2**30:,.0f} "
            f"GiB; they may take {MOST_BYTES // 2**30}, so lower one of them",
        )


def _require_classifier(experiment: Experiment) -> None:
    config = experiment.classifier
    require_classifier(config, experiment.image)
    if not config.pretrained:
        with META:
            build_classifier_trainer(experiment, device=META, weights=experiment.weights, total_steps=1)
    width = config.width if config.network == "small_resnet" else 64
    _require_memory(
        "classifier", config.batch_size, experiment.image.size // 2, width, f"classifier.network={config.network}"
    )


def _require_rates(experiment: Experiment) -> None:
    """Refuses factors on rates of optimisers that a model of the study does not have."""
    for key in experiment.privacy.rates:
        name, _, optimiser = key.partition("/")
        if name not in experiment.models:
            continue  # A preset may speak of models that the study does not train.
        known = list(_outline(experiment, name).optimisers)
        if optimiser not in known:
            raise refused(
                f"privacy.rates.{key}", experiment.privacy.rates[key], f"{name} has the optimisers {listed(known)}"
            )


def _require_quorum(experiment: Experiment, sites: Sequence[KnownSite]) -> None:
    """Refuses a quorum that the sites which may train cannot meet, in all or for one of the GANs."""
    training = [site for site in sites if site.trains is not False and site.organ in experiment.organs]
    _require_enough(experiment, training, "train" if any(site.trains for site in sites) else "are to take part")
    for name in experiment.models:
        model = model_of(experiment, name)
        _require_enough(experiment, [site for site in training if _shows(experiment, model, site)], f"can train {name}")


def _require_enough(experiment: Experiment, sites: Sequence[KnownSite], what: str) -> None:
    quorum = experiment.strategy.quorum
    if len(sites) < quorum:
        named = f" ({listed([site.name for site in sites])})" if sites else ""
        raise refused(
            "strategy.quorum",
            quorum,
            f"only {len(sites)} {'site' if len(sites) == 1 else 'sites'}{named} {what}, so no round could count; lower "
            "it, or have more sites that do",
        )


def _shows(experiment: Experiment, model: Model, site: KnownSite) -> bool:
    """Whether a site has what a model looks at; taken for granted where its contrasts are not known."""
    if site.contrasts is None:
        return True
    held = site.contrasts or contrasts_by_organ(experiment)[site.organ]
    return site_view(experiment, model, site.organ, held) is not None
