"""From a configuration to sites."""

from pathlib import Path

import pytest
import torch

from common.errors import ConfigError
from common.study.config import compose
from common.study.experiment_paths import with_absolute_paths
from simulation.site_checks import check_sites


def test_paths_hold_from_every_folder_and_download_stays_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = compose(["preset=paper", "site=brain", "site.hospital1.path=data/a", "weights.vgg19=vgg19.pth"])
    made = with_absolute_paths(given)
    assert made.site["hospital1"].path == str(tmp_path / "data" / "a")
    assert made.site["hospital2"].path is None
    assert made.weights.vgg19 == str(tmp_path / "vgg19.pth")
    assert made.weights.fid_inception == "download"
    assert made.simulation.runs_dir == str(tmp_path / "runs")
    assert given.site["hospital1"].path == "data/a"


def test_a_study_without_sites_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sites"):
        check_sites(compose(["site=brain", *(f"~site.{name}" for name in compose(["site=brain"]).site)]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("key", ["site.hospital2.device", "evaluation.device"])
def test_a_device_that_is_not_there_is_refused_by_its_key(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}=cuda:0: there is no CUDA here"):
        check_sites(compose(["site=brain", f"{key}=cuda:0"]))


def test_what_is_no_device_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"site\.hospital1\.device=gpu: must be cpu, cuda or cuda:<index>"):
        check_sites(compose(["site=brain", "site.hospital1.device=gpu"]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_on_a_cluster_each_site_looks_at_its_own_device() -> None:
    there = ["simulation.engine=ray", "simulation.ray_address=auto"]
    check_sites(compose(["site=brain", "site.hospital1.device=cuda:0", *there]))
