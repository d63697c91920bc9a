"""The chance of a private training: its distribution, its independence, and that no small seed stands behind it."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

import client.privacy
from client.privacy.randomness import AT_ONCE, KEY_BYTES, PrivateRandom

KEY = bytes(range(KEY_BYTES))


def normals(count: int, *name: str | int) -> np.ndarray:
    return PrivateRandom(KEY).stream(*(name or ("noise",))).normal((count,)).double().numpy()


def test_noise_is_standard_normal() -> None:
    made = normals(400_000)
    assert made.dtype == np.float64
    assert stats.kstest(made, "norm").pvalue > 0.001
    assert abs(made.mean()) < 5 / 400_000**0.5
    assert made.var() == pytest.approx(1.0, abs=5 * (2 / 400_000) ** 0.5)
    assert abs(stats.skew(made)) < 0.02
    assert abs(stats.kurtosis(made)) < 0.04
    # The tail, where an attacker looks: as many beyond 3.5 as there should be.
    expected = 400_000 * 2 * stats.norm.sf(3.5)
    assert abs((np.abs(made) > 3.5).sum() - expected) < 5 * expected**0.5


def test_values_of_a_stream_are_independent_also_over_the_pieces_it_is_made_in() -> None:
    made = normals(4 * AT_ONCE)
    for lag in (1, 2, 3, AT_ONCE // 2, AT_ONCE, 2 * AT_ONCE):
        assert abs(np.corrcoef(made[:-lag], made[lag:])[0, 1]) < 0.012
        # Neighbours share pairs of sines and cosines: their sizes must not go together either.
        assert abs(np.corrcoef(made[:-lag] ** 2, made[lag:] ** 2)[0, 1]) < 0.012


def test_streams_share_nothing() -> None:
    names = [("noise", "critic"), ("noise", "generator"), ("noise", 1), ("noise", "1"), ("noise/critic",)]
    made = [normals(50_000, *name) for name in names]
    together = np.corrcoef(made)
    assert np.abs(together - np.eye(len(made))).max() < 0.025


def test_the_same_key_and_name_give_the_same_and_another_key_does_not() -> None:
    assert np.array_equal(normals(100, "a"), normals(100, "a"))
    other = PrivateRandom(bytes(KEY_BYTES)).stream("a").normal((100,)).double().numpy()
    assert not np.array_equal(normals(100, "a"), other)
    fresh = [PrivateRandom().stream("a").normal((4,)) for _ in range(2)]
    assert not torch.equal(*fresh)


def test_bits_are_those_of_aes_in_counter_mode() -> None:
    """Against the cipher's other interface: block by block, with the counter written out."""
    import hashlib

    own = hashlib.blake2b(b"str:who\x1fint:3", key=KEY, digest_size=KEY_BYTES).digest()
    blocks = Cipher(algorithms.AES(own), modes.ECB()).encryptor()
    expected = b"".join(blocks.update(counter.to_bytes(16, "big")) for counter in range(8))
    words = np.frombuffer(expected, np.uint64) & np.uint64(2**53 - 1)
    assert np.array_equal(PrivateRandom(KEY).stream("who", 3).uniform(16), words / 2**53)


def test_a_key_of_other_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, got 8"):
        PrivateRandom(b"12345678")


def test_uniforms_and_whole_numbers_are_even() -> None:
    stream = PrivateRandom(KEY).stream("even")
    assert stats.kstest(stream.uniform(100_000), "uniform").pvalue > 0.001
    counts = np.bincount(stream.integers(60_000, 6), minlength=6)
    assert stats.chisquare(counts).pvalue > 0.001
    assert counts.shape == (6,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_noise_is_the_same_on_a_gpu() -> None:
    on_gpu = PrivateRandom(KEY).stream("noise").normal((100_000,), "cuda").cpu()
    torch.testing.assert_close(on_gpu, PrivateRandom(KEY).stream("noise").normal((100_000,)), rtol=1e-5, atol=1e-6)


def test_two_seeds_that_torch_cannot_tell_apart_are_told_apart_here() -> None:
    """Why torch's generator is not used: it keeps 32 bits of its seed, which can be tried one by one."""
    low = [torch.randn(4, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*low)
    keys = [(5 + high).to_bytes(KEY_BYTES, "big") for high in (0, 2**32)]
    made = [PrivateRandom(key).stream("noise").normal((4,)) for key in keys]
    assert not torch.equal(*made)


def test_no_generator_of_torch_makes_noise_or_draws_patients() -> None:
    """By reading the room's code: one place hands out a ``torch.Generator``, for examples; none draws from the global
    one."""
    allowed = {("randomness.py", "Generator")}
    drawing = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "manual_seed", "Generator"}
    found = set()
    for file in Path(client.privacy.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in drawing):
                continue
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "torch":
                found.add((file.name, node.func.attr))
    assert found == allowed
