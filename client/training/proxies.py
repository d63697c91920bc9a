"""Synthetic slices that leave this site once, and those of other sites that it trains beside (``Exchange.PROXIES``).

What is released is made from noise by the generator that all sites trained, for this site's organ and contrasts: no
patient's slice is read for it. The site says in ``site.yaml`` whether even that may leave.
"""

import torch
from flwr.app import RecordDict
from torch import Tensor

from client.data.context import StudyContext
from client.data.work import WorkFolder
from client.policy.rules import require_model
from common.errors import RefusalError
from common.protocol.records import ARRAYS, IMAGES, to_images
from common.protocol.reply_checks import ImagesCheck
from common.seeding import Label, derive_seed
from common.study.conditions import condition_code
from common.system.array_files import read_tensors, write_tensors
from common.training.build import build_gan_trainer, proxy_source
from common.training.families import trainer_module
from common.training.kinds import ProxySource, ProxyTrainer, SamplingTrainer
from common.training.trainer import View


def release(study: StudyContext, work: WorkFolder, model: str, arrays: dict[str, Tensor]) -> Tensor:
    """Synthetic slices of what this site shows the GAN ``model``, half of them made as tumours.

    They are kept here, and a site that is asked again in this run sends the same ones, whatever generator it is sent.

    Args:
        arrays: the weights of the proxy model's generators.

    Returns:
        (N, C, H, W) float32 in [0, 1].

    Raises:
        RefusalError: if this site may not release any, or that model needs none of it.
        UnacceptableError: if the generator does not make images.
    """
    if not study.settings.may_release_synthetic:
        raise RefusalError("it does not release synthetic slices")
    file = work.proxies("released", model)
    if not file.exists():
        images = _sample(study, work, model, arrays)
        release_check(study, model).read(RecordDict({ARRAYS: to_images(images)}))
        write_tensors(file, {IMAGES: images})
    return read_tensors(file)[IMAGES]


def _sample(study: StudyContext, work: WorkFolder, model: str, arrays: dict[str, Tensor]) -> Tensor:
    source, view = _source(study, model), study.view_of(model)
    require_model(study, source.model)
    trainer = build_gan_trainer(study.experiment, source.model, device=study.device, weights=study.weights)
    if not isinstance(trainer, SamplingTrainer):
        raise RefusalError(f"{source.model} makes no whole slices from noise")
    trainer.generators_only = True
    trainer.load_shared_arrays(arrays)
    tumour = torch.arange(source.slices) < source.slices // 2
    seed = derive_seed(study.experiment.seed, study.settings.name, Label.PROXIES, model)
    return trainer.sample(tumour, condition_code(view.organ, view.contrasts), seed)


def release_check(study: StudyContext, model: str) -> ImagesCheck:
    """What this site's release must look like, before it is kept or leaves."""
    source = _source(study, model)
    return ImagesCheck(_shape(study, study.view_of(model)), source.slices, source.slices)


def take(study: StudyContext, work: WorkFolder, model: str, content: RecordDict) -> None:
    """Keeps other sites' synthetic slices for the training of ``model``; they outlast a restart.

    Raises:
        UnacceptableError: if they are not what that model can train beside.
        RefusalError: if it needs none here.
    """
    source, view = _source(study, model), study.view_of(model)
    chosen = study.model(model)
    family: type[ProxyTrainer[object]] = trainer_module(chosen.family).Trainer
    check = ImagesCheck(_shape(study, family.proxied_view(chosen.config, view)), source.slices)
    write_tensors(work.proxies("taken", model), {IMAGES: check.read(content)})


def taken_proxies(work: WorkFolder, model: str) -> Tensor:
    """The slices that :func:`take` kept.

    Raises:
        RefusalError: if there are none in this run.
    """
    file = work.proxies("taken", model)
    if not file.exists():
        raise RefusalError(f"it was not given the synthetic slices that {model} trains beside; resume the run")
    return read_tensors(file)[IMAGES]


def _source(study: StudyContext, model: str) -> ProxySource:
    source = proxy_source(study.experiment, model)
    if source is None:
        raise RefusalError(f"{model} does not train beside synthetic slices of other sites")
    return source


def _shape(study: StudyContext, view: View) -> tuple[int, int, int]:
    size = study.experiment.image.size
    return len(view.contrasts), size, size
