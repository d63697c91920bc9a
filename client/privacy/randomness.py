"""Where a private training's chance comes from: a cryptographic generator, keyed by the operating system.

Whoever can compute the noise can subtract it. A seed of the study is public; one of a Mersenne Twister can be searched
for (torch keeps 32 bits of it), and its later output follows from its earlier. So noise, and who and which slices are
drawn, are keystreams of AES-256 in counter mode under a key of 256 bits from ``os.urandom``. AES of the library
``cryptography`` was taken rather than ChaCha20, because processors have instructions for it, and rather than another
package of bit generators, because hospitals have this one already and have to trust it for TLS.

A stream is named, e.g. by patient and step: what one patient meets does not depend on who else is there. A key is not
logged, not kept in a checkpoint, and new in every round; that is why a private training does not resume bit by bit.
"""

import hashlib
import math
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import Tensor

KEY_BYTES = 32

SUMMED = 4
"""Normals behind each value of the noise: with the sum of four, rounding in the last bits of one tells nothing that
could be solved for (Holohan & Braghin 2021, with n = 2, as in Opacus' secure mode)."""

AT_ONCE = 1 << 16
"""Values made at a time: what is between fits into a processor's cache."""

_UNIT = 2.0**-53
_MASK = (1 << 53) - 1


class Stream:
    """One endless sequence of random numbers, by its key alone."""

    def __init__(self, key: bytes) -> None:
        # A key serves one stream only, so that counting may begin at zero.
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> npt.NDArray[np.float64]:
        """(count,) evenly from [0, 1), in steps of 2 to the power of -53."""
        words = np.frombuffer(self._bytes(8 * count), np.uint64) & np.uint64(_MASK)
        return words.astype(np.float64) * _UNIT

    def integers(self, count: int, below: int) -> npt.NDArray[np.int64]:
        """(count,) whole numbers from 0 to ``below - 1``, each as likely."""
        return (self.uniform(count) * below).astype(np.int64)

    def normal(
        self, shape: Sequence[int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Standard normals, by Box and Muller in double precision, each from the sum of four.

        The bits are the same on every device; what a device rounds otherwise is beyond single precision.
        """
        count = math.prod(shape)
        made = torch.empty(count, dtype=dtype, device=device)
        for start in range(0, count, AT_ONCE):
            part = made[start : start + AT_ONCE]
            part.copy_(self._normals(len(part), device))
        return made.view(*shape)

    def _normals(self, count: int, device: torch.device | str) -> Tensor:
        pairs = SUMMED // 2 * count
        bits = torch.frombuffer(bytearray(self._bytes(16 * pairs)), dtype=torch.int64).to(device)
        unit = bits.bitwise_and_(_MASK).double().mul_(_UNIT)
        # 1 - u is above 0, so that its logarithm is finite.
        radius = unit[:pairs].neg_().log1p_().mul_(-2).sqrt_()
        angle = unit[pairs:].mul_(2 * math.pi)
        cosines, sines = angle.cos().mul_(radius), angle.sin_().mul_(radius)
        # The two halves of a pair are independent, and their sum would be one number of Box and Muller's: each value
        # takes the sines of another value's pairs.
        total = cosines.view(-1, count).sum(0) + sines.view(-1, count).sum(0).roll(1)
        return total.mul_(SUMMED**-0.5)

    def generator(self) -> torch.Generator:
        """A CPU generator for what is neither noise nor a draw: places of lesions, augmentation, latents."""
        return torch.Generator().manual_seed(self.seed())

    def seed(self) -> int:
        """63 bits."""
        return int.from_bytes(self._bytes(8), "big") >> 1

    def _bytes(self, count: int) -> bytes:
        return self._cipher.update(bytes(count))


class PrivateRandom:
    """All chance of one private training.

    Args:
        key: 32 bytes; from the operating system unless a test needs two trainings that draw alike.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = os.urandom(KEY_BYTES) if key is None else key
        if len(self._key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(self._key)}")

    def stream(self, *name: str | int) -> Stream:
        """The stream of that name, from its beginning; streams of other names share nothing with it."""
        text = "\x1f".join(f"{type(part).__name__}:{part}" for part in name).encode()
        return Stream(hashlib.blake2b(text, key=self._key, digest_size=KEY_BYTES).digest())
