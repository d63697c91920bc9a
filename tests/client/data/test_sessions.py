import os
from pathlib import Path
from typing import Any, cast

import cloudpickle
import pytest
import torch

from client.data.sessions import OpenSessions
from client.site import SiteSettings, save_site
from common.config import compose, to_yaml
from common.errors import ConfigError, RefusalError
from common.training.trainer import Trainer
from common.trials import Trial


@pytest.fixture
def file(tmp_path: Path) -> Path:
    settings = SiteSettings(
        name="north", reader="brats", organ="brain", path=tmp_path, folder=tmp_path, cache_dir=tmp_path / "cache"
    )
    save_site(settings, tmp_path / "site.yaml")
    return tmp_path / "site.yaml"


STUDY = to_yaml(compose(["site=brain"]), leaving=True)


def test_a_session_stays_open_for_the_next_message_of_its_run(file: Path) -> None:
    sessions = OpenSessions()
    first = sessions.open(sessions.settings(file), STUDY, "one")
    assert sessions.open(sessions.settings(file), STUDY, "one") is first
    assert sessions.open(sessions.settings(file), STUDY, "two") is not first
    assert sessions.open(sessions.settings(file), STUDY + "\n", "one") is not first


def test_a_changed_site_file_opens_a_new_session(file: Path) -> None:
    sessions = OpenSessions()
    first = sessions.open(sessions.settings(file), STUDY, "one")
    save_site(first.settings.model_copy(update={"threads": 1}), file)
    os.utime(file, ns=(1, 1))  # a clock that is too coarse must not hide the change
    again = sessions.open(sessions.settings(file), STUDY, "one")
    assert again is not first
    assert again.settings.threads == 1


def test_the_least_recently_used_session_is_closed_first(file: Path) -> None:
    sessions = OpenSessions(most=2)
    settings = sessions.settings(file)
    one, _two = sessions.open(settings, STUDY, "one"), sessions.open(settings, STUDY, "two")
    assert sessions.open(settings, STUDY, "one") is one
    sessions.open(settings, STUDY, "three")
    assert sessions.open(settings, STUDY, "one") is one


def test_a_configuration_that_does_not_fit_is_refused_each_time(file: Path) -> None:
    sessions = OpenSessions()
    for _ in range(2):
        with pytest.raises(RefusalError, match="does not fit this release"):
            sessions.open(sessions.settings(file), "colour: red", "one")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_told_before_anything_is_trained(file: Path) -> None:
    sessions = OpenSessions()
    settings = sessions.settings(file).model_copy(update={"device": "cuda:0"})
    with pytest.raises(ConfigError, match=r"site\.yaml: device: cuda:0: there is no CUDA here"):
        sessions.open(settings, STUDY, "one")


def test_an_app_that_is_sent_along_with_each_message_finds_what_the_last_one_opened(file: Path) -> None:
    app = cloudpickle.dumps(OpenSessions())
    first, second = cloudpickle.loads(app), cloudpickle.loads(app)
    opened = first.open(first.settings(file), STUDY, "one")
    assert second.open(second.settings(file), STUDY, "one") is opened


def test_trainers_of_every_site_and_trial_are_let_go_together(file: Path) -> None:
    sessions = OpenSessions()
    session = sessions.open(sessions.settings(file), STUDY, "one")
    trials = [session, session.within(Trial(run=2))]
    for one in trials:
        one.trainers["cyclegan", 1] = cast(Trainer[Any], object())
    sessions.let_trainers_go()
    assert [one.trainers for one in trials] == [{}, {}]
