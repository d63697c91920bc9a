"""The machine that a study would run on: disk, device, weights files."""

import platform
import shutil
from collections.abc import Iterable

import torch

from client.data.context import StudyContext
from client.doctor.examination import Machine
from common.errors import OncofedError, WeightsError
from common.imaging.cache import PreparedPatient
from common.study.weights import needed_weights, resolve_weights
from common.system import devices

FOUND, TO_DOWNLOAD = "found", "to download"
_COORDINATORS = {"fid_inception"}
"""Needed by a study, but not at a site."""


def look_at_machine(study: StudyContext, patients: Iterable[PreparedPatient]) -> Machine:
    """What the disk, the device and the weights files are like; weights are never downloaded here."""
    cache_dir = study.settings.cache_dir
    folders = [patient.folder for patient in patients]
    place = next(folder for folder in (cache_dir, *cache_dir.parents) if folder.exists())
    return Machine(
        cache_dir=str(cache_dir),
        cache_bytes=sum(file.stat().st_size for folder in folders for file in folder.glob("*") if file.is_file()),
        free_bytes=shutil.disk_usage(place).free,
        device=study.settings.device,
        device_name=_device_name(study.device),
        weights=_weights(study),
    )


def device_problem(device: torch.device) -> str:
    """Why the device in ``site.yaml`` cannot be used; empty if it can."""
    problem = devices.device_problem(str(device))
    return f"device: {device} is set in site.yaml, but {problem}" if problem else ""


def _device_name(device: torch.device) -> str:
    if device_problem(device):
        return ""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()


def _weights(study: StudyContext) -> dict[str, str]:
    states = {}
    try:
        needed = needed_weights(study.experiment) - _COORDINATORS
    except OncofedError as error:
        return {"model": str(error)}
    for name in sorted(needed):
        if getattr(study.weights, name) == "download":
            states[name] = TO_DOWNLOAD
            continue
        try:
            resolve_weights(study.weights, [name])
            states[name] = FOUND
        except WeightsError as error:
            states[name] = str(error)
    return states
