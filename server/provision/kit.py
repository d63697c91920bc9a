"""The start-up kit: one zip file that brings one site in. It holds a token, so it travels like a password."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from common.enrolment import KitDescription, KitFile, checksums
from common.imaging.readers.registry import READERS
from common.private_files import make_private_folder, write_private
from server.provision.federation import USUAL_READER, InvitedSite

SITE_TEMPLATE = """\
# Settings of {site}. This file stays in the hospital, and nothing in it leaves. docs/hospital.md explains each line.
name: {site}                  # the name by which others know this site; agreed with the coordinator
reader: {reader}                   # format of the images: {readers}
organ: {organ}
path: data                      # CHANGE THIS: the folder of the images; relative paths count from this file's folder
options: {{}}                     # options of the reader
steps: {{}}                       # preprocessing that these images need beside the study's, e.g. {{skull_strip: true}}
# contrasts: [flair, t1]        # the contrasts that these patients have; without it, those that a study asks for
# patients: included.txt        # only these patients take part, one name a line; without it all do
roles: [train, evaluate]        # an external centre has [evaluate]
device: cpu                     # cpu, cuda, cuda:0, ...

# What the hospital allows. The cautious choice is the default; nothing from outside changes it.
# privacy: {{epsilon: 8.0, patients: 200}}   # cap and declared number of patients; see docs/privacy.md
share_site_model: false         # may this site's own classifier be tried at other sites?
may_release_synthetic: false    # may synthetic slices made here by a federated generator be sent to other sites?
declare_counts: false           # may the numbers of patients, slices and excluded studies be told?
identifying_data: refuse        # headers that may name the patient: refuse to take part, or quarantine the study
min_cell: 5                     # fewest patients behind a figure that leaves
allowed_exchanges: [average, proxies]    # gradients of single batches can be inverted into images: leave them out
min_update_patients: 5          # fewest training patients behind weights that leave without noise
min_update_slices: 20           # fewest slices of theirs
# allowed_models: [cgan, wgan_gp]          # families of GANs that may be used here; without it all
# allowed_actions: [query.hello, ...]      # messages that are answered; without it all
# hours: "20:00-06:00"          # when this machine works for a study; without it always
# memory_gib: 16                # the most memory that a study may take here
# gpu_memory_gib: 8             # the same on the GPU
# health_port: 18470            # where the running node says whether it is well; each node of a machine needs its own
"""

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
  kit.json     which federation, site and address, and until when
  token        the one-time token
  ca.crt       the certificate by which your machine knows the coordinator
  site.yaml    a template of your settings
  SHA256SUMS   checksums of these files (sha256sum -c SHA256SUMS)
"""


def write_kit(path: Path, site: InvitedSite, description: KitDescription, token: str, certificate: bytes) -> None:
    """Writes a site's kit, mode 0600; an earlier one makes way.

    Args:
        path: the zip file.
        site: whom it is for.
        description: goes into ``kit.json``.
        token: its one-time token.
        certificate: the authority's, as PEM.
    """
    make_private_folder(path.parent)
    write_private(path, kit_bytes(site, description, token, certificate), replace=True)


def kit_bytes(site: InvitedSite, description: KitDescription, token: str, certificate: bytes) -> bytes:
    """The zip file of a kit; see :func:`write_kit`."""
    words = {"site": site.name, "federation": description.federation, "address": description.address}
    readme = README.format(**words, expires=f"{description.token_expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    files = {
        KitFile.DESCRIPTION.value: (description.model_dump_json(indent=1) + "\n").encode(),
        KitFile.TOKEN.value: f"{token}\n".encode(),
        KitFile.CERTIFICATE.value: certificate,
        KitFile.SITE.value: site_template(site).encode(),
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


def site_template(site: InvitedSite) -> str:
    """A ``site.yaml`` that loads as it is; only the hospital knows where its images are."""
    reader = site.reader or USUAL_READER[site.organ]
    return SITE_TEMPLATE.format(site=site.name, organ=site.organ, reader=reader, readers=", ".join(READERS))
