"""The ``site.yaml`` that a site begins with. It is this release's own: no kit says what a hospital allows."""

from common.imaging.readers.registry import READERS

USUAL_READER = {"brain": "brats", "lung": "lidc", "liver": "hcc_tace"}
"""What the template names if the coordinator proposes none."""

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
duplicates: refuse              # patients that show the same slices: refuse to test on them, or join them into one
identifying_data: refuse        # headers that may name the patient: refuse to take part, or quarantine the study
min_cell: 5                     # fewest patients behind a figure that leaves
allowed_exchanges: [average, proxies]    # gradients of single batches can be inverted into images: leave them out
min_update_patients: 5          # fewest training patients behind weights that leave without noise
min_update_slices: 20           # fewest slices of theirs
# shared_patients_key: key.txt  # a secret of the hospitals, by which they find patients whom two of them have
# allowed_models: [cgan, wgan_gp]          # families of GANs that may be used here; without it all
# allowed_actions: [query.hello, ...]      # messages that are answered; without it all
# hours: "20:00-06:00"          # when this machine works for a study; without it always
# memory_gib: 16                # the most memory that a study may take here
# gpu_memory_gib: 8             # the same on the GPU
# health_port: 18470            # where the running node says whether it is well; each node of a machine needs its own
"""


def usual_reader(organ: str, proposed: str | None) -> str:
    """The reader that a template names: the one that the coordinator proposes, or the usual one of the organ."""
    return proposed or USUAL_READER[organ]


def site_template(site: str, organ: str, reader: str) -> str:
    """A ``site.yaml`` that loads as it is; only the hospital knows where its images are."""
    return SITE_TEMPLATE.format(site=site, organ=organ, reader=reader, readers=", ".join(READERS))
