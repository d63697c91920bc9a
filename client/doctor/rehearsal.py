"""One step of what a study would ask of this site, by the code that would do it, in a folder that is then removed."""

import dataclasses
import math
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from flwr.app import RecordDict

from client.data.context import StudyContext
from client.data.request import Request
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.doctor.examination import TrainingStep
from client.hello.introduction import introduce
from client.training import proxies
from client.training.rounds import Update, train_classifier, train_gan
from common.errors import OncofedError
from common.protocol.records import ARRAYS, Instruction, SiteHello, to_images
from common.study.experiment import Experiment, FederationConfig
from common.study.phases import classifier_phase, gan_phase
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.kinds import ProxyTrainer
from common.training.trainer import Exchange


def rehearse(study: StudyContext, folder: Path, with_training: bool = True) -> tuple[SiteHello, list[TrainingStep]]:
    """What the site would say at hello, and one training step of each network that it could then be asked for.

    Args:
        study: its patients are read; nothing is written to the site's own folder.
        folder: a folder inside it is used, and removed at the end.
        with_training: False leaves the steps out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".rehearsal-", dir=folder) as scratch:
        own = _elsewhere(study, Path(scratch))
        once = dataclasses.replace(own, experiment=_one_step(own.experiment))
        # How much would stand behind an update follows from the rounds as they are. Private ones would be planned with
        # all their noise, and on an account that is not the hospital's.
        told = once if study.blind else own
        hello = introduce(SiteData.of(told), WorkFolder.of(told))
        data, experiment, steps = SiteData.of(once), once.experiment, []
        trained = [name for name in experiment.models if f"gan/{name}" in hello.tasks]
        for name in trained if with_training else []:
            steps.append(_step(name, once.device, partial(_train_gan, data, name)))
        if with_training and "classifier" in hello.tasks:
            steps.append(_step(experiment.classifier.network, once.device, partial(_train_classifier, data)))
    return hello, steps


def _one_step(experiment: Experiment) -> Experiment:
    """The same study with rounds of one step."""

    def once(federation: FederationConfig) -> FederationConfig:
        return dataclasses.replace(federation, rounds=1, local_steps=1)

    classifier = dataclasses.replace(experiment.classifier, federation=once(experiment.classifier.federation))
    models = {
        name: {**entry, "federation": {**(entry.get("federation") or {}), "rounds": 1, "local_steps": 1}}
        for name, entry in experiment.models.items()
    }
    return dataclasses.replace(experiment, models=models, classifier=classifier)


def _elsewhere(study: StudyContext, scratch: Path) -> StudyContext:
    """The same site and study, but with a folder of its own."""
    own = study.settings.privacy
    if own is not None:
        # A rehearsal is not trained with anyone, so the hospital's account is neither looked at nor charged.
        own = own.model_copy(
            update={"folder": scratch / "privacy", "head": scratch / "ledger-head.json", "known": scratch / "known"}
        )
    settings = study.settings.model_copy(update={"folder": scratch, "folder_per_run": False, "privacy": own})
    return dataclasses.replace(study, settings=settings)


def _train_gan(data: SiteData, name: str) -> Update:
    study = data.study
    trainer = build_gan_trainer(study.experiment, name, device=study.device, weights=study.weights)
    if isinstance(trainer, ProxyTrainer) and trainer.exchange is Exchange.PROXIES:
        _stand_in_for_proxies(study, name)
    return train_gan(_request(data, gan_phase(name, 1), model=name), trainer.shared_arrays())


def _stand_in_for_proxies(study: StudyContext, name: str) -> None:
    """Noise where the other sites' synthetic slices would be: it takes as long and as much memory."""
    check = proxies.release_check(study, name)
    images = torch.rand(check.least, *check.shape, generator=torch.Generator().manual_seed(0))
    proxies.take(study, WorkFolder.of(study), name, RecordDict({ARRAYS: to_images(images)}))


def _train_classifier(data: SiteData) -> Update:
    study = data.study
    trainer = build_classifier_trainer(study.experiment, device=study.device, weights=study.weights, total_steps=1)
    return train_classifier(_request(data, classifier_phase("real"), arm="real"), trainer.shared_arrays())


def _request(data: SiteData, phase: str, **about: str) -> Request:
    instruction = Instruction.model_validate({"run": "rehearsal", "phase": phase, "server-round": 1, **about})
    return Request(instruction, data, WorkFolder.of(data.study))


def _step(network: str, device: torch.device, train: Callable[[], Update]) -> TrainingStep:
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    started = time.monotonic()
    try:
        losses = train().losses
    except (MemoryError, torch.OutOfMemoryError):
        return TrainingStep(network=network, problem="it ran out of memory; a smaller batch size or image may fit")
    except OncofedError as error:
        return TrainingStep(network=network, problem=str(error))
    except Exception as error:  # whatever fails here would fail in the study
        return TrainingStep(network=network, problem=f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - started
    odd = [name for name, value in losses.items() if not math.isfinite(value)]
    return TrainingStep(
        network=network,
        problem=f"its loss is not a finite number: {', '.join(odd)}" if odd else "",
        losses={name: value for name, value in losses.items() if math.isfinite(value)},
        seconds=round(seconds, 3),
        peak_memory_mib=round(_peak_memory(device) / 2**20, 1),
    )


def _peak_memory(device: torch.device) -> float:
    """Bytes: of the GPU in this step, or of this whole process so far."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
