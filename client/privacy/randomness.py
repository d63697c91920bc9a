"""Where the noise comes from: the operating system, never the experiment's public seed.

Noise that follows from a seed which the coordinator knows can be subtracted again. A generator made here is not logged,
not kept in a checkpoint, and different in every process; that is why a private training does not resume bit by bit.

It is a Mersenne Twister all the same (torch has no other on a CPU), not a cryptographic generator: who sees enough of
its raw output can predict the rest. What leaves a site is sums of several outputs, rounded, plus clipped gradients.
"""

import os

import torch


def private_generator(device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on ``device``, seeded with 64 bits from the operating system."""
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(os.urandom(8), "big") - 2**63)
    return generator
