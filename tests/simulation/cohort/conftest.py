"""A small demo cohort, made once for the tests of this folder."""

import shutil
from pathlib import Path

import pytest
from ct_anatomy import write_made_up_anatomy

from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.build import CohortFolders, build_cohort


@pytest.fixture(scope="session")
def small_config() -> CohortConfig:
    return CohortConfig(seed=3, train=2, validation=1, test=1, external=1, reference=1, slices=8, workers=1)


@pytest.fixture(scope="session")
def small_sites() -> dict[str, SiteConfig]:
    return {
        "north": SiteConfig(scanner="a"),
        "south": SiteConfig(scanner="c", roles=["evaluate"]),
        "own_data": SiteConfig(path="/somewhere"),
        "chest": SiteConfig(reader="lidc", organ="lung", scanner="external", roles=["evaluate"]),
        "belly": SiteConfig(reader="hcc_tace", organ="liver", scanner="b", roles=["evaluate"]),
    }


@pytest.fixture(scope="session")
def made_up_anatomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared CT anatomy, made up: nothing is downloaded."""
    return write_made_up_anatomy(tmp_path_factory.mktemp("anatomy"))


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory, made_up_anatomy: Path) -> Path:
    cache = tmp_path_factory.mktemp("cohort")
    shutil.copytree(made_up_anatomy, cache / "anatomy" / made_up_anatomy.name)
    return cache


@pytest.fixture(scope="session")
def small_cohort(small_config: CohortConfig, small_sites: dict[str, SiteConfig], small_cache: Path) -> CohortFolders:
    return build_cohort(small_config, small_sites, small_cache, organs=["brain", "lung", "liver"])
