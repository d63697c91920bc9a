import os
from pathlib import Path
from typing import Any, cast

import cloudpickle
import pytest
import torch

from client.data.open_studies import OpenStudies
from client.site import SiteSettings, save_site
from common.errors import ConfigError, RefusalError
from common.study.config import compose, to_yaml
from common.training.trainer import Trainer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    settings = SiteSettings(
        name="north", reader="brats", organ="brain", path=tmp_path, folder=tmp_path, cache_dir=tmp_path / "cache"
    )
    save_site(settings, tmp_path / "site.yaml")
    return tmp_path / "site.yaml"


STUDY = to_yaml(compose(["site=brain"]), leaving=True)


def test_a_study_stays_open_for_the_next_message_of_its_run(file: Path) -> None:
    studies = OpenStudies()
    first = studies.open(studies.settings(file), STUDY, "one")
    assert studies.open(studies.settings(file), STUDY, "one") is first
    assert studies.open(studies.settings(file), STUDY, "two") is not first
    assert studies.open(studies.settings(file), STUDY + "\n", "one") is not first


def test_a_changed_site_file_opens_the_study_anew(file: Path) -> None:
    studies = OpenStudies()
    first = studies.open(studies.settings(file), STUDY, "one")
    save_site(first.study.settings.model_copy(update={"threads": 1}), file)
    os.utime(file, ns=(1, 1))  # a clock that is too coarse must not hide the change
    again = studies.open(studies.settings(file), STUDY, "one")
    assert again is not first
    assert again.study.settings.threads == 1


def test_the_least_recently_used_study_is_closed_first(file: Path) -> None:
    studies = OpenStudies(most=2)
    settings = studies.settings(file)
    one, _two = studies.open(settings, STUDY, "one"), studies.open(settings, STUDY, "two")
    assert studies.open(settings, STUDY, "one") is one
    studies.open(settings, STUDY, "three")
    assert studies.open(settings, STUDY, "one") is one


def test_a_configuration_that_does_not_fit_is_refused_each_time(file: Path) -> None:
    studies = OpenStudies()
    for _ in range(2):
        with pytest.raises(RefusalError, match="does not fit this release"):
            studies.open(studies.settings(file), "colour: red", "one")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_told_before_anything_is_trained(file: Path) -> None:
    studies = OpenStudies()
    settings = studies.settings(file).model_copy(update={"device": "cuda:0"})
    with pytest.raises(ConfigError, match=r"site\.yaml: device: cuda:0: there is no CUDA here"):
        studies.open(settings, STUDY, "one")


def test_an_app_that_is_sent_along_with_each_message_finds_what_the_last_one_opened(file: Path) -> None:
    app = cloudpickle.dumps(OpenStudies())
    first, second = cloudpickle.loads(app), cloudpickle.loads(app)
    opened = first.open(first.settings(file), STUDY, "one")
    assert second.open(second.settings(file), STUDY, "one") is opened


def test_trainers_of_every_study_are_let_go_together(file: Path) -> None:
    studies = OpenStudies()
    opened = [(run, studies.open(studies.settings(file), STUDY, run)) for run in ("one", "two")]
    for phase, study in opened:
        study.memory.trainers[phase] = cast(Trainer[Any], object())
    studies.let_trainers_go()
    assert [study.memory.trainers for _, study in opened] == [{}, {}]
