"""The memory that a site may take: its limit is tried in a process of its own, which it would otherwise outlive."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from client.policy.limits import set_limits
from client.site import SiteSettings
from common.errors import ConfigError

PROBE = """
import json, sys
from hospital import Hospital
import client.app
from pathlib import Path
from common.protocol.actions import Action
import numpy, torch

folder, gib = sys.argv[1:3]
takes = {
    "torch": lambda: torch.zeros(2**30),
    "convolution": lambda: torch.nn.Conv2d(1, 64, 3)(torch.zeros(64, 1, 512, 512)),
    "numpy": lambda: numpy.zeros(2**29),
    "python": lambda: bytearray(2**32),
    "little": lambda: torch.zeros(2**20),
}
site = Hospital(Path(folder), memory_gib=float(gib))
told = {}
for kind, take in takes.items():
    client.app.introduce = lambda *_: (take(), None)[1]
    reply = site.ask(Action.HELLO)
    # It goes on working afterwards.
    client.app.introduce = lambda *_: None
    told[kind] = [reply.error.reason if reply.has_error() else "", site.ask(Action.HELLO).has_error()]
print(json.dumps(told))
"""


def probe(folder: Path, gib: float) -> Any:
    support = Path(__file__).parents[2] / "support"
    program = f"import sys; sys.path.insert(0, {str(support)!r})\n{PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(gib)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts all private memory on Linux only")
def test_what_exceeds_the_limit_fails_with_a_safe_reason_and_the_site_goes_on(tmp_path: Path) -> None:
    told = probe(tmp_path, 2.5)
    assert told.pop("little") == ["", False]
    assert set(told) == {"torch", "convolution", "numpy", "python"}
    assert all(one == ["hospital1: it ran out of memory", False] for one in told.values()), told


def settings(folder: Path, **limits: Any) -> SiteSettings:
    return SiteSettings(
        name="a", reader="brats", organ="brain", path=folder, folder=folder, cache_dir=folder / "cache", **limits
    )


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_a_limit_below_what_the_process_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"memory_gib.*before it works"):
        set_limits(settings(tmp_path, memory_gib=0.001))


def test_a_limit_that_cannot_be_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr("client.policy.limits.resource.setrlimit", refuse)
    with pytest.raises(ConfigError, match=r"memory_gib.*not permitted"):
        set_limits(settings(tmp_path, memory_gib=10_000))
    monkeypatch.setattr("torch.cuda.get_device_properties", refuse_cuda)
    with pytest.raises(ConfigError, match=r"gpu_memory_gib.*cuda:1"):
        set_limits(settings(tmp_path, gpu_memory_gib=8, device="cuda:1"))


def refuse_cuda(device: torch.device) -> None:
    raise RuntimeError("no such device")


def test_a_gpus_limit_is_a_share_of_that_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        total_memory = 80 * 2**30

    shares: list[tuple[float, str]] = []
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: Card)
    monkeypatch.setattr(
        "torch.cuda.set_per_process_memory_fraction", lambda share, device: shares.append((share, str(device)))
    )
    set_limits(settings(tmp_path, gpu_memory_gib=8, device="cuda:1"))
    set_limits(settings(tmp_path, gpu_memory_gib=100, device="cuda"))
    set_limits(settings(tmp_path, gpu_memory_gib=8))  # on a CPU nothing of a GPU is used
    assert shares == [(0.1, "cuda:1"), (1.0, "cuda")]


@pytest.mark.parametrize("key", ["memory_gib", "gpu_memory_gib"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_limit_is_a_positive_number(tmp_path: Path, key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        settings(tmp_path, **{key: value})
