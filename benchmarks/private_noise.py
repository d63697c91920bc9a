"""What a cryptographic generator of the noise costs: over torch's, hardened against floating-point attacks alike.

Both make the noise of one private step: each value from the sum of four normals, as Opacus' secure mode does it. They
run in turn in one process; the ratio is the median over pairs.

    python benchmarks/private_noise.py
    python benchmarks/private_noise.py --weights 25000000 --device cuda
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from opacus.optimizers.optimizer import _generate_noise

from client.privacy.randomness import PrivateRandom


def seconds(make: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.process_time() if device.type == "cpu" else time.perf_counter()
    make()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.process_time() if device.type == "cpu" else time.perf_counter()) - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=2_800_000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    stream = PrivateRandom().stream("noise")
    generator, like = torch.Generator(device), torch.zeros(options.weights, device=device)

    def cryptographic() -> None:
        stream.normal((options.weights,), device)

    def of_torch() -> None:
        _generate_noise(1.0, like, generator, True)

    for make in (cryptographic, of_torch):
        make()
    pairs = [(seconds(cryptographic, device), seconds(of_torch, device)) for _ in range(options.pairs)]
    ratios = sorted(a / b for a, b in pairs)
    print(f"{options.weights:,} weights on {device}: {statistics.median(a for a, _ in pairs):.3f} s a step")
    print(f"cryptographic over torch's noise: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
