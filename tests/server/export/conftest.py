"""A finished study of three GANs; no test may change its folder."""

from pathlib import Path

import pytest
from tiny import TINY, TinyStudy, write_site

from simulation.run import run

SMALL = (
    "model=[cgan,wgan_gp,cyclegan]",
    "study.arms=[real]",
    "classifier.federation.rounds=1",
    "classifier.federation.local_steps=1",
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.batch_size=4",
    "models.wgan_gp.n_critic=1",
    "models.wgan_gp.federation.local_steps=2",
    "models.wgan_gp.federation.rounds=2",
    "models.cyclegan.width=4",
    "models.cyclegan.federation.local_steps=2",
    "models.cyclegan.federation.rounds=2",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=4",
    "models.cyclegan.discriminator_layers=1",
    "models.cyclegan.batch_size=2",
    "evaluation.paired_images=4",
    "evaluation.frechet_images=4",
)


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export-study")
    overrides = [*TINY, *SMALL, "~site.external", "~site.hospital3"]
    for number, (site, contrasts) in enumerate({"hospital1": ("flair", "t1"), "hospital2": ("flair", "t2")}.items()):
        folder = write_site(root / site, 10, seed=number + 1, contrasts=contrasts)
        overrides += [f"site.{site}.path={folder}", f"site.{site}.contrasts=[{','.join(contrasts)}]"]
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number, contrasts=("flair", "t1", "t2"))
    overrides.append(f"reference.brain.path={root / 'reference'}")
    return run(TinyStudy(root, tuple(overrides)).with_output(root / "out"))
