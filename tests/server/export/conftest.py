"""A finished study of three GANs; no test may change its folder."""

from pathlib import Path

import pytest
from tiny import TINY, TINY_CYCLEGAN, TINY_WGAN, TinyStudy, write_site

from simulation.run import run

SMALL = (
    "model=[cgan,wgan_gp,cyclegan]",
    "study.arms=[real]",
    "classifier.federation.rounds=1",
    "classifier.federation.local_steps=1",
    *TINY_WGAN,
    *TINY_CYCLEGAN,
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
