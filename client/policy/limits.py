"""The memory that a hospital lets a study take from its machine: what is more than that fails there, and only there.

A limit holds for the process that works, from when it is set. What has no room then fails to be allocated, and the site
answers that it ran out of memory; nothing is killed, and the machine's other work does not suffer.
"""

import resource
from pathlib import Path

import torch

from client.site import SiteSettings
from common.errors import ConfigError

_GIB = 2**30


def set_limits(settings: SiteSettings) -> None:
    """Holds this process to the ``memory_gib`` and ``gpu_memory_gib`` of ``site.yaml``.

    Raises:
        ConfigError: if a limit cannot be set, or is below what the process holds already.
    """
    if settings.memory_gib is not None:
        _limit_memory(settings.memory_gib)
    if settings.gpu_memory_gib is not None and settings.device != "cpu":
        _limit_gpu_memory(settings.gpu_memory_gib, torch.device(settings.device))


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory could not be had; torch's own on a CPU is a plain ``RuntimeError``.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _limit_memory(gib: float) -> None:
    """``RLIMIT_DATA``: private writable memory. Files that are mapped to be read, as the cache is, do not count."""
    wanted = int(gib * _GIB)
    held = _held()
    if held is not None and held >= wanted:
        raise ConfigError(
            f"site.yaml: memory_gib: {gib:g}: the process holds {held / _GIB:.1f} GiB before it works; raise it"
        )
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (OSError, ValueError) as error:
        raise ConfigError(f"site.yaml: memory_gib: {gib:g}: cannot be set here ({error})") from error


def _held() -> int | None:
    """Bytes that count towards ``RLIMIT_DATA``, as Linux tells; None where it does not."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, IndexError, ValueError):
        return None
    return pages * resource.getpagesize()


def _limit_gpu_memory(gib: float, device: torch.device) -> None:
    """A share of the card, for torch's allocator: what CUDA itself takes for a process comes on top."""
    try:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gib * _GIB / total), device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(f"site.yaml: gpu_memory_gib: {gib:g}: cannot be set on {device} ({error})") from error
