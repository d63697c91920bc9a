"""Hostile images and annotations: DICOM, NIfTI, PNG and XML that lie about sizes, nest for ever, or call for help."""

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hostile_corpus import Payload, hostile

Spoil = Callable[[bytes, Payload], bytes]

HARMLESS = (
    "pixels longer than the file",
    "voxels of infinite size",
    "a scale that is no number",
    "an infinite scale",
)
"""Fields that other fields stand in for, or that count as not there: the image is what it would be without them."""


def prepared(folder: Path, reader: str, organ: str, contrast: str, **options: Any) -> Callable[[], object]:
    """What a site does with its folder; a study in quarantine counts as a refusal, with the reason that is listed."""

    def read() -> None:
        from common.errors import BadStudyError
        from common.imaging.prepare import prepare_folder
        from common.imaging.readers.registry import build_reader
        from common.study.experiment import ImageConfig, PreprocessingConfig

        found = prepare_folder(
            build_reader(reader, organ=organ, contrasts=[contrast], options=options),
            folder / "data",
            cache_dir=folder / "cache",
            organ=organ,
            contrasts=[contrast],
            image=ImageConfig(size=32),
            preprocessing=PreprocessingConfig(window=[-1000, 400]),
        )
        quarantined = [bad for patient in found.patients for bad in patient.quarantined]
        if quarantined:
            raise BadStudyError("; ".join(bad.reason for bad in quarantined))

    return read


# ---------------------------------------------------------------------------------------------------------------- XML

HEAD = '<?xml version="1.0"?>\n'
READING = '<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader><SeriesInstanceUid>{uid}</SeriesInstanceUid>'


def _laughs(uid: str) -> str:
    entities = '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f"{HEAD}<!DOCTYPE x [{entities}]>{READING.format(uid=uid)}<x>&a11;</x></ResponseHeader></LidcReadMessage>"


XMLS: dict[str, Callable[[str, Path], str]] = {
    "an external entity": lambda uid, secret: (
        f'{HEAD}<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>'
        f"{READING.format(uid='&e;')}</ResponseHeader></LidcReadMessage>"
    ),
    "an external document type": lambda uid, secret: (
        f'{HEAD}<!DOCTYPE x SYSTEM "file://{secret}">{READING.format(uid=uid)}</ResponseHeader></LidcReadMessage>'
    ),
    "a parameter entity": lambda uid, secret: (
        f'{HEAD}<!DOCTYPE x [<!ENTITY % p SYSTEM "file://{secret}"> %p;]>'
        f"{READING.format(uid=uid)}</ResponseHeader></LidcReadMessage>"
    ),
    "billions of laughs": lambda uid, secret: _laughs(uid),
    "nesting": lambda uid, secret: f"{HEAD}{READING.format(uid=uid)}</ResponseHeader>" + "<readingSession>" * 200_000,
    "text without end": lambda uid, secret: (
        f"{HEAD}{READING.format(uid=uid)}</ResponseHeader><readingSession>{'x' * 9_000_000}"
    ),
    "an attribute without end": lambda uid, secret: (
        f'{HEAD}{READING.format(uid=uid)}</ResponseHeader><readingSession a="{"x" * 9_000_000}"/></LidcReadMessage>'
    ),
    "a coordinate of many digits": lambda uid, secret: (
        f"{HEAD}{READING.format(uid=uid)}</ResponseHeader><readingSession><unblindedReadNodule><noduleID>1</noduleID>"
        f"<roi><imageSOP_UID>1.2</imageSOP_UID><inclusion>TRUE</inclusion><edgeMap><xCoord>{'9' * 5000}</xCoord>"
        "<yCoord>1</yCoord></edgeMap></roi></unblindedReadNodule></readingSession></LidcReadMessage>"
    ),
}

for _name, _text in XMLS.items():

    @hostile(f"annotation with {_name}", says="reading.xml")
    def _(folder: Path, payload: Payload, text: Callable[[str, Path], str] = _text) -> Callable[[], object]:
        from common.imaging.readers.lidc_xml import read_annotation

        secret = folder / "secret.txt"
        secret.write_text("1.2.3")
        (folder / "reading.xml").write_text(text("1.2.3", secret))
        return lambda: read_annotation(folder / "reading.xml")

    @hostile(f"scan and annotation with {_name}")
    def _(folder: Path, payload: Payload, text: Callable[[str, Path], str] = _text) -> Callable[[], object]:
        from dicom_files import body, ct_series, write

        slices = ct_series(body((6, 32, 40)))
        write(slices, folder / "data" / "ct")
        secret = folder / "secret.txt"
        secret.write_text(slices[0].SeriesInstanceUID)
        (folder / "data" / "reading.xml").write_text(text(slices[0].SeriesInstanceUID, secret))
        return prepared(folder, "lidc", "lung", "ct")


# -------------------------------------------------------------------------------------------------------------- DICOM


def element(group: int, number: int, kind: bytes, content: bytes, length: int | None = None) -> bytes:
    """An element in explicit little endian with a length of four bytes."""
    head = struct.pack("<HH2sHI", group, number, kind, 0, len(content) if length is None else length)
    return head + content


def nested(levels: int) -> bytes:
    """Sequences in sequences, none of which is ever closed."""
    one = element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return one * levels


def with_syntax(uid: bytes) -> Spoil:
    """Another transfer syntax, of the same length as that of plain explicit little endian."""
    plain = b"1.2.840.10008.1.2.1\x00"
    return lambda data, payload: data.replace(plain, uid.ljust(len(plain), b"\x00")[: len(plain)], 1)


def with_number(group: int, number: int, value: int) -> Spoil:
    """Another value of a ``US`` element."""
    key = struct.pack("<HH2sH", group, number, b"US", 2)

    def spoil(data: bytes, payload: Payload) -> bytes:
        at = data.index(key) + len(key)
        return data[:at] + struct.pack("<H", value) + data[at + 2 :]

    return spoil


def with_pixel_length(length: int) -> Spoil:
    key = struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0)

    def spoil(data: bytes, payload: Payload) -> bytes:
        at = data.index(key) + len(key)
        return data[:at] + struct.pack("<I", length) + data[at + 4 :]

    return spoil


def before_pixels(content: bytes) -> Spoil:
    key = struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0)
    return lambda data, payload: data[: data.index(key)] + content + data[data.index(key) :]


DICOMS: dict[str, Spoil] = {
    "pixels that end too early": lambda data, payload: data[:-700],
    "pixels longer than the file": with_pixel_length(0xFFFFFFF0),
    "pixels without a length": with_pixel_length(0xFFFFFFFF),
    "an element longer than the file": before_pixels(element(0x0029, 0x1010, b"OB", b"abc", 0xFFFFFFF0)),
    "sequences without end": before_pixels(nested(20_000)),
    "a few sequences without end": before_pixels(nested(300)),
    "a transfer syntax of nobody": with_syntax(b"9.9.999.99999.9.9.9"),
    "a JPEG 2000 that is none": with_syntax(b"1.2.840.10008.1.2.4.90"),
    "big endian that is little": with_syntax(b"1.2.840.10008.1.2.2"),
    "a deflated data set": lambda data, payload: with_syntax(b"1.2.840.10008.1.2.1.99")(data, payload),
    "rows without number": with_number(0x0028, 0x0010, 65535),
    "no columns": with_number(0x0028, 0x0011, 0),
    "bits that nobody has": with_number(0x0028, 0x0100, 33),
    "a pickle behind the preamble": lambda data, payload: bytes(128) + b"DICM" + payload.pickled(),
}

for _name, _spoil in DICOMS.items():

    @hostile(f"DICOM with {_name}", is_read=_name in HARMLESS)
    def _(folder: Path, payload: Payload, spoil: Spoil = _spoil) -> Callable[[], object]:
        from dicom_files import body, ct_series, structure_set, write

        slices = ct_series(body((6, 32, 40)))
        files = write(slices, folder / "data" / "ct")
        square = np.array([(12, 10), (22, 10), (22, 20), (12, 20)], dtype=float)
        write([structure_set(slices, {"Mass": [(2, square)]})], folder / "data" / "structures")
        whole = files[2].read_bytes()
        spoilt = spoil(whole, payload)
        assert spoilt != whole
        files[2].write_bytes(spoilt)
        return prepared(folder, "dicom", "liver", "ct", tumour_segments=["mass"])


# -------------------------------------------------------------------------------------------------------------- NIfTI


def with_field(offset: int, kind: str, *values: float) -> Spoil:
    """Other values in the header, see https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h."""

    def spoil(data: bytes, payload: Payload) -> bytes:
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        return data[:offset] + packed + data[offset + len(packed) :]

    return spoil


NIFTIS: dict[str, Spoil] = {
    "all the voxels there are": with_field(40, "h", 7, *[32767] * 7),
    "more voxels than the file": with_field(40, "h", 3, 500, 500, 500, 1, 1, 1, 1),
    "no voxels": with_field(40, "h", 3, 0, 0, 0, 1, 1, 1, 1),
    "fewer voxels than none": with_field(40, "h", 3, -40, -44, -10, 1, 1, 1, 1),
    "more dimensions than there are": with_field(40, "h", 127, 40, 44, 10, 1, 1, 1, 1),
    "voxels of no type": with_field(70, "h", 9999),
    "voxels of colours": with_field(70, "h", 128, 24),
    "voxels far behind the end": with_field(108, "f", 1e18),
    "voxels at no place": with_field(108, "f", float("nan")),
    "voxels of infinite size": with_field(76, "f", 1.0, float("inf"), float("nan"), 0.0),
    "a scale that is no number": with_field(112, "f", float("nan"), float("inf")),
    "an infinite scale": with_field(112, "f", float("inf"), 0.0),
    "a header of another length": with_field(0, "i", 2**30),
    "a pickle": lambda data, payload: payload.pickled(),
    "the end too early": lambda data, payload: data[:400],
}


def _nifti(name: str, spoil: Spoil, packed: bool) -> None:
    harmless = name in HARMLESS

    @hostile(
        f"NIfTI with {name}{', packed' if packed else ''}", says="" if harmless else "case_flair", is_read=harmless
    )
    def read(folder: Path, payload: Payload) -> Callable[[], object]:
        from tiny import write_patient

        write_patient(folder / "data", "case", tumour=True, seed=1)
        image = folder / "data" / "case" / "case_flair.nii.gz"
        whole = gzip.decompress(image.read_bytes())
        spoilt = spoil(whole, payload)
        assert spoilt != whole
        if packed:
            image.write_bytes(gzip.compress(spoilt, 1))
        else:
            image.with_suffix("").write_bytes(spoilt)
            image.unlink()
        return prepared(folder, "brats", "brain", "flair")


for _name, _spoil in NIFTIS.items():
    for _packed in (False, True):
        _nifti(_name, _spoil, _packed)


@hostile("NIfTI that unpacks to ten gigabytes", is_read=True)
def _(folder: Path, payload: Payload) -> Callable[[], object]:
    """What follows the voxels that its header names is never unpacked."""
    from tiny import write_patient

    write_patient(folder / "data", "case", tumour=True, seed=1)
    image = folder / "data" / "case" / "case_flair.nii.gz"
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(gzip.decompress(image.read_bytes()))]
    megabyte = bytes(2**20)
    parts += [packer.compress(megabyte) for _ in range(1024)]
    image.write_bytes(b"".join(parts) + packer.flush())
    return prepared(folder, "brats", "brain", "flair")


# ---------------------------------------------------------------------------------------------------------------- PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bomb(side: int) -> bytes:
    """A grey image whose rows all are 0; a thousandth of its size."""
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    return b"".join(packer.compress(row) for _ in range(side)) + packer.flush()


def drawn(size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", size, 7).save(buffer, kind)
    return buffer.getvalue()


def postscript(payload: Payload) -> bytes:
    return (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n"
        f"(%pipe%{payload.command}) (w) file closefile\nshowpage\n%%EOF\n"
    ).encode()


IMAGES: Mapping[str, tuple[str, Callable[[Payload], bytes]]] = {
    "is a bomb": ("x.png", lambda payload: png(12_000, 12_000, bomb(12_000))),
    "says it is a bomb": ("x.png", lambda payload: png(2**31 - 1, 2**31 - 1, zlib.compress(bytes(100)))),
    "has a text that is a bomb": (
        "x.png",
        lambda payload: png(40, 40, zlib.compress(bytes(10)), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))),
    ),
    "is cut": ("x.png", lambda payload: drawn()[:60]),
    "is a program": ("x.png", postscript),
    "is a program, as TIFF": ("x.tif", postscript),
    "is another format": ("x.jpg", lambda payload: drawn(kind="GIF")),
    "is an icon": ("x.png", lambda payload: drawn(kind="ICO")),
    "is a pickle": ("x.png", lambda payload: payload.pickled()),
    "is empty": ("x.png", lambda payload: b""),
}

for _name, (_file, _make) in IMAGES.items():

    @hostile(f"image that {_name}", says=_file)
    def _(
        folder: Path, payload: Payload, name: str = _file, make: Callable[[Payload], bytes] = _make
    ) -> Callable[[], object]:
        for place in ("tumour", "healthy"):
            (folder / "data" / place).mkdir(parents=True)
        (folder / "data" / "tumour" / name).write_bytes(make(payload))
        return prepared(folder, "image_folder", "liver", "ct", tumour_classes=["tumour"], hu_range=[-100, 250])


@hostile("list of patients that is a pickle", says="patients.csv")
def _(folder: Path, payload: Payload) -> Callable[[], object]:
    from tiny_images import write_image_site

    write_image_site(folder / "data", 2, seed=1)
    (folder / "data" / "patients.csv").write_bytes(b"\xff" + payload.pickled())
    return prepared(folder, "image_folder", "liver", "ct", tumour_classes=["tumour"], hu_range=[-100, 250])
