"""The start-up kit: one zip file that brings one site in. It holds a token, so it travels like a password."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from common.protocol.enrolment import KitDescription, KitFile, checksums
from common.system.private_files import make_private_folder, write_private

README = """\
Start-up kit of {site} for the federation {federation}

This kit lets ONE machine join in the name of {site}, ONCE, until {expires}.
Keep it as you would a password, and delete it when the site has joined.

1. Install oncofed on the machine that can read the images.
2. Ask the coordinator, on the telephone, for the SHA-256 of this kit, and compare:
       sha256sum {site}.zip
3. Join:
       oncofed-client init {site}.zip --folder {site}
   This makes the site's key on your machine, shows it to the coordinator at
   {address}, and writes the folder {site}.
   The private key never leaves your machine. It is not in this kit.
4. Read the key's fingerprint (SHA256:...) to the coordinator, who sees the same one.
5. Edit {site}/site.yaml: where the images are, and what the hospital allows. Then
       oncofed-client doctor {site}/site.yaml

Your firewall must let this machine open connections to {address} (TLS).
Nothing connects to your machine from outside. TLS must not be inspected on the way.

What is in this kit:
  kit.json     which federation, site and address, and until when; the key
               that signs the coordinator's questions; the organ and format
               of images that the coordinator expects, for you to check
  token        the one-time token
  ca.crt       the certificate by which your machine knows the coordinator
  SHA256SUMS   checksums of these files (sha256sum -c SHA256SUMS)
Your settings are not in it: their template is part of the release that you
installed, and what the hospital allows is decided by nobody else.
"""


def write_kit(path: Path, description: KitDescription, token: str, certificate: bytes) -> None:
    """Writes a site's kit, mode 0600; an earlier one makes way.

    Args:
        path: the zip file.
        description: whom it is for; goes into ``kit.json``.
        token: its one-time token.
        certificate: the authority's, as PEM.
    """
    make_private_folder(path.parent)
    write_private(path, kit_bytes(description, token, certificate), replace=True)


def kit_bytes(description: KitDescription, token: str, certificate: bytes) -> bytes:
    """The zip file of a kit; see :func:`write_kit`."""
    words = {"site": description.site, "federation": description.federation, "address": description.address}
    readme = README.format(**words, expires=f"{description.token_expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    files = {
        KitFile.DESCRIPTION.value: (description.model_dump_json(indent=1) + "\n").encode(),
        KitFile.TOKEN.value: f"{token}\n".encode(),
        KitFile.CERTIFICATE.value: certificate,
        KitFile.README.value: readme.encode(),
    }
    files[KitFile.CHECKSUMS.value] = checksums(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
