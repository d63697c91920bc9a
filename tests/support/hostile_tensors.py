"""Hostile weights, checkpoints, arrays and prepared slices."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_corpus import Payload, hostile

Bytes = Callable[[Payload], bytes]


def saved_by_torch(payload: Payload, *, zipped: bool = True, beside: bool = False) -> bytes:
    """``torch.save`` of the payload, alone or among sound weights."""
    import torch

    buffer = io.BytesIO()
    made = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1), "more": payload.made} if beside else payload.made
    torch.save(made, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], sizes: dict[str, int] | None = None) -> bytes:
    """An archive; ``sizes`` is what its directory says of a file's size instead of the truth."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info in archive.filelist:
            info.file_size = (sizes or {}).get(info.filename, info.file_size)
    return buffer.getvalue()


def tensors(header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def npy(header: str, data: bytes = b"") -> bytes:
    """An ``.npy`` file with any header."""
    text = (header + " " * (118 - len(header) - 1) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def of_objects(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload.made], dtype=object), allow_pickle=True)
    return buffer.getvalue()


WEIGHTS: dict[str, Bytes] = {
    "protocol0.pt": lambda payload: payload.pickled(0),
    "protocol4.pt": lambda payload: payload.pickled(4),
    "protocol5.pth": lambda payload: payload.pickled(5),
    "zipped.pt": saved_by_torch,
    "legacy.pt": lambda payload: saved_by_torch(payload, zipped=False),
    "beside.pt": lambda payload: saved_by_torch(payload, beside=True),
    "data.pt": lambda payload: zipped({"archive/data.pkl": payload.pickled(2), "archive/version": b"3\n"}),
    "code.pt": lambda payload: zipped(
        {"archive/code/run.py": b"import os", "archive/constants.pkl": payload.pickled(2), "archive/version": b"3\n"}
    ),
    "cut.pt": lambda payload: saved_by_torch(payload)[:-40],
    "module.pt": lambda payload: b"cantigravity\n.",
    "objects.pt": of_objects,
    "pickle.safetensors": lambda payload: payload.pickled(),
    "zip.safetensors": saved_by_torch,
    "long.safetensors": lambda payload: tensors({}, length=2**63),
    "nested.safetensors": lambda payload: tensors(b"[" * 1_000_000),
    "huge.safetensors": lambda payload: tensors(
        {"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ),
    "overlapping.safetensors": lambda payload: tensors(
        {
            "weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
            "bias": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        bytes(8),
    ),
}


def _weights(name: str, make: Bytes) -> None:
    @hostile(f"weights {name}", says=name)
    def given_by_path(folder: Path, payload: Payload) -> Callable[[], object]:
        from torch import nn

        from common.study.weights import load_weights

        file = folder / name
        file.write_bytes(make(payload))
        return lambda: load_weights(nn.Linear(2, 1), "vgg19", file)

    @hostile(f"exported {name}", says=name)
    def exported(folder: Path, payload: Payload) -> Callable[[], object]:
        from common.export.loading import read_safetensors

        file = folder / name
        file.write_bytes(make(payload))
        return lambda: read_safetensors(file)

    @hostile(f"checkpoint {name}", says="round-00001.safetensors")
    def of_a_round(folder: Path, payload: Payload) -> Callable[[], object]:
        from server.checkpoint import PhaseCheckpoints

        checkpoints = PhaseCheckpoints(folder, "gan/a")
        checkpoints.folder.mkdir(parents=True)
        (checkpoints.folder / "round-00001.safetensors").write_bytes(make(payload))
        return lambda: checkpoints.weights(1)

    @hostile(f"state {name}", says="round-00001.safetensors")
    def of_a_site(folder: Path, payload: Payload) -> Callable[[], object]:
        from client.training.state import RoundState

        state = RoundState(folder, "gan/a")
        state.folder.mkdir(parents=True)
        (state.folder / "round-00001.safetensors").write_bytes(make(payload))
        return lambda: state.after(2)


for _name, _make in WEIGHTS.items():
    _weights(_name, _make)


@hostile("optimisers of a checkpoint", says="state-00001.safetensors")
def _(folder: Path, payload: Payload) -> Callable[[], object]:
    from server.checkpoint import PhaseCheckpoints

    checkpoints = PhaseCheckpoints(folder, "gan/a")
    checkpoints.folder.mkdir(parents=True)
    (checkpoints.folder / "state-00001.safetensors").write_bytes(payload.pickled())
    return lambda: checkpoints.state(1)


ARCHIVES: dict[str, Bytes] = {
    "a pickle": lambda payload: payload.pickled(),
    "objects": lambda payload: zipped({"images.npy": of_objects(payload)}),
    "a pickle inside": lambda payload: zipped({"images.npy": payload.pickled()}),
    "objects alone": of_objects,
    "a petabyte": lambda payload: zipped(
        {"images.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (274877906944, 1, 1), }", bytes(64))}
    ),
    "a bomb": lambda payload: zipped({"images.npy": bytes(2**26)}, {"images.npy": 2**32 - 2}),
    "damaged": lambda payload: zipped({"images.npy": np.arange(999).tobytes()})[:300] + bytes(700),
}


def _archive(name: str, make: Bytes) -> None:
    @hostile(f"arrays, {name}", says="a.npz")
    def plain(folder: Path, payload: Payload) -> Callable[[], object]:
        from common.system.array_files import read_arrays

        (folder / "a.npz").write_bytes(make(payload))
        return lambda: read_arrays(folder / "a.npz")

    @hostile(f"gallery of the study, {name}", says="brain.npz")
    def of_the_study(folder: Path, payload: Payload) -> Callable[[], object]:
        from server.report.gallery import reference_gallery

        (folder / "brain.npz").write_bytes(make(payload))
        return lambda: reference_gallery(folder / "brain.npz")

    for part in ("gallery", "steps"):

        @hostile(f"{part} of a site, {name}", says=f"{part}.npz could not be read")
        def of_a_site(folder: Path, payload: Payload, part: str = part) -> Callable[[], object]:
            (folder / f"{part}.npz").write_bytes(make(payload))
            return lambda: told_missing(folder, part)


def told_missing(folder: Path, part: str) -> None:
    """The site report goes on without a part; here, what it says of it counts as a refusal."""
    from client.report.inputs import read_inputs
    from common.errors import DataError

    if reason := read_inputs(folder).absent.get(part):
        raise DataError(reason)


for _name, _make in ARCHIVES.items():
    _archive(_name, _make)


def _replaced(array: str, make: Bytes) -> Callable[[Path, Payload], None]:
    return lambda folder, payload: (
        [file.write_bytes(make(payload)) for file in sorted(folder.rglob(f"{array}.npy"))] and None
    )  # type: ignore[func-returns-value]


def _index(text: str) -> Callable[[Path, Payload], None]:
    return lambda folder, payload: [file.write_text(text) for file in sorted(folder.rglob("index.json"))] and None  # type: ignore[func-returns-value]


def _wrong_types(folder: Path, payload: Payload) -> None:
    for file in folder.rglob("index.json"):
        values = json.loads(file.read_text())
        file.write_text(json.dumps({**values, "slices": [1], "lesion_pixels": {"a": 1}, "studies": "none"}))


def _studies(text: str) -> Callable[[Path, Payload], None]:
    return lambda folder, payload: [file.write_text(text) for file in sorted(folder.rglob("studies.json"))] and None  # type: ignore[func-returns-value]


CACHES: dict[str, Callable[[Path, Payload], None]] = {
    "images are a pickle": _replaced("images", lambda payload: payload.pickled()),
    "images are objects": _replaced("images", of_objects),
    "labels are objects": _replaced("labels", of_objects),
    "foreground is a pickle": _replaced("foreground", lambda payload: payload.pickled(2)),
    "images are an archive": _replaced("images", lambda payload: zipped({"images.npy": of_objects(payload)})),
    "images are a petabyte": _replaced(
        "images",
        lambda payload: npy("{'descr': '<f2', 'fortran_order': False, 'shape': (9, 1, 99999999, 9999999), }"),
    ),
    "images have another shape": _replaced(
        "images", lambda payload: npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 1, 4, 4), }", bytes(32))
    ),
    "the index is nested": _index("[" * 200_000),
    "the index is a list": _index("[1, 2]"),
    "the index has wrong types": _wrong_types,
    "the list of studies is nested": _studies('{"a":' * 200_000),
    "the list of studies is a number": _studies("7"),
}


def _cache(name: str, spoil: Callable[[Path, Payload], None]) -> None:
    @hostile(f"cache, {name}", is_read=True)
    def prepared_anew(folder: Path, payload: Payload) -> Callable[[], object]:
        from tiny import write_site

        from common.imaging.prepare import prepare_cohort
        from common.imaging.readers.registry import build_reader
        from common.study.experiment import ImageConfig, PreprocessingConfig

        write_site(folder / "data", 2, seed=1)

        def prepared() -> list[bytes]:
            cohort = prepare_cohort(
                build_reader("brats", organ="brain", contrasts=["flair"], options={}),
                folder / "data",
                cache_dir=folder / "cache",
                organ="brain",
                contrasts=["flair"],
                image=ImageConfig(size=32, min_foreground=0.05),
                preprocessing=PreprocessingConfig(),
            )
            return [np.asarray(patient.open().images).tobytes() for patient in cohort.patients]

        before = prepared()
        spoil(folder / "cache", payload)

        def again() -> None:
            assert prepared() == before

        return again


for _name, _spoil in CACHES.items():
    _cache(_name, _spoil)


def unpickled(payload: Payload) -> None:
    """What all of this must never come to: shows that the payload works."""
    pickle.loads(payload.pickled())
