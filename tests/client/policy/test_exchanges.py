"""What a hospital lets sites exchange, and how much it wants behind an update: said at hello, by doctor, and for all
families alike."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hospital import Hospital
from opening import open_study
from tiny import TINY, write_site

from client.data.context import LOCAL
from client.doctor.rehearsal import rehearse
from client.site import SiteSettings, load_site
from common.protocol.actions import Action
from common.protocol.records import SiteHello, read_result
from common.study.config import compose, to_yaml
from common.study.models import model_of
from common.training.build import build_gan_trainer, model_exchange
from common.training.trainer import Exchange

DOMAINS = "models.cyclegan.domains=[{organ: brain, contrasts: [flair]},{organ: brain, contrasts: [t2]}]"
TRANSLATING = ["image.size=64", DOMAINS, "models.cyclegan.width=2", "models.cyclegan.discriminator_width=2"]
TWO = [*TINY, "model=[cgan,cyclegan]", *TRANSLATING, "models.cyclegan.exchange=gradients"]

LONG = ["federation.local_steps=40", "classifier.federation.local_steps=40"]
"""Rounds that hardly ever miss one of four patients."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_site(tmp_path_factory.mktemp("data"), 10, seed=1)


def hello(hospital: Hospital, overrides: list[str]) -> SiteHello:
    experiment = to_yaml(compose(overrides), leaving=True)
    # A run is bound to its configuration.
    reply = hospital.ask(Action.HELLO, experiment=experiment, run=f"demo-{len(overrides)}")
    return read_result(reply.content, SiteHello)


def test_a_site_that_says_nothing_averages_and_takes_proxies_and_gives_no_gradients(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("name: a\nreader: brats\norgan: brain\npath: data\n")
    settings = load_site(file)
    assert settings.allowed_exchanges == ["average", "proxies"]
    assert settings.min_update_patients == settings.min_cell
    assert settings.min_update_slices > 1


def test_every_exchange_can_be_named_in_site_yaml() -> None:
    (named,) = get_args(SiteSettings.model_fields["allowed_exchanges"].annotation)
    assert set(get_args(named)) == set(Exchange)


@pytest.mark.parametrize("exchange", Exchange)
def test_the_exchange_that_is_asked_about_is_the_one_that_is_trained_by(exchange: Exchange) -> None:
    study = [*TINY, "model=[cgan,wgan_gp,translation,cyclegan]", *TRANSLATING, f"models.cyclegan.exchange={exchange}"]
    experiment = compose(study)
    for name in experiment.models:
        trainer = build_gan_trainer(experiment, name, device=torch.device("cpu"), weights=experiment.weights)
        assert model_exchange(model_of(experiment, name)) is trainer.exchange


def test_the_coordinator_is_told_at_once_who_takes_no_part_and_why(tmp_path: Path, data: Path) -> None:
    told = hello(Hospital(tmp_path, path=data), TWO)
    why = "its hospital does not allow gradients to be exchanged"
    assert told.tasks == ["gan/cgan", "classifier", "evaluate"]
    assert told.declined == {"gan/cyclegan": why}
    assert f"cyclegan: takes no part, {why}" in told.notes


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"min_update_patients": 5}, {"evaluate"}),
        ({"min_update_slices": 10_000}, {"evaluate"}),
        ({"allowed_exchanges": ["gradients"]}, {"gan/cyclegan", "evaluate"}),
        ({"allowed_exchanges": []}, {"evaluate"}),
        ({"allowed_exchanges": ["average", "gradients"]}, {"gan/cgan", "gan/cyclegan", "classifier", "evaluate"}),
    ],
)
def test_a_site_takes_part_in_what_it_would_not_refuse(
    tmp_path: Path, data: Path, settings: dict[str, Any], left: set[str]
) -> None:
    told = hello(Hospital(tmp_path, path=data, **settings), TWO)
    assert set(told.tasks) == left
    assert set(told.declined) == {"gan/cgan", "gan/cyclegan", "classifier", "evaluate"} - left
    assert not any(character.isdigit() for reason in told.declined.values() for character in reason)


@pytest.mark.parametrize("repeated", ["study.curve=[2]", "study.folds=2"])
def test_a_trial_on_too_few_patients_is_found_before_the_study_begins(
    tmp_path: Path, data: Path, repeated: str
) -> None:
    """All four patients are enough, and the trial that would have fewer stands at the end of the study."""
    hospital = Hospital(tmp_path, path=data, min_update_patients=4)
    assert "gan/cgan" in hello(hospital, [*TWO, *LONG]).tasks
    told = hello(hospital, [*TWO, *LONG, repeated])
    assert set(told.declined) == {"gan/cgan", "gan/cyclegan", "classifier"}


@pytest.mark.parametrize(("steps", "takes_part"), [(2, False), (40, True)])
def test_a_site_takes_part_where_its_rounds_will_hardly_draw_too_few(
    tmp_path: Path, data: Path, steps: int, takes_part: bool
) -> None:
    """Two steps of eight slices are enough for four patients on paper, and miss one of them in many a round."""
    hospital = Hospital(tmp_path, path=data, min_update_patients=4)
    told = hello(hospital, [*TINY, f"federation.local_steps={steps}"])
    assert ("gan/cgan" in told.tasks) is takes_part


def test_doctor_judges_the_rounds_of_the_study_and_not_its_own_step(tmp_path: Path, data: Path) -> None:
    """Four patients train, in rounds of many steps: enough for a hospital that asks for four; one step is not."""
    settings = Hospital(tmp_path, path=data, min_update_patients=4, min_update_slices=16).settings
    for steps, takes_part in (("40", True), ("1", False)):
        experiment = compose([*TINY, f"federation.local_steps={steps}", "classifier.federation.local_steps=40"])
        told, steps_taken = rehearse(open_study(settings, experiment, LOCAL).study, tmp_path / "doctor")
        assert ("gan/cgan" in told.tasks) is takes_part
        assert ("gan/cgan" in told.declined) is not takes_part
        assert not any(step.problem for step in steps_taken)
