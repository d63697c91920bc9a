"""Studies that went wrong for people elsewhere: each ends with one sentence, before anything is prepared, or runs."""

from pathlib import Path

import pytest
from tiny import TinyStudy

from common.study.models import model_of
from server.whole_study import notes
from simulation.cli import main
from simulation.run import checked
from simulation.sweep_axes import planned_runs, split_axes


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command, and what it wrote to standard error."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("name='my study'", "name=my study: a run's name"),
        ("name=..", "name=..: a run's name"),
        ("name=''", 'name="": a run\'s name'),
        ("name=-x", "name=-x: a run's name"),
        (f"name={'x' * 120}", "1 to 90 letters"),
        (f"name={'x' * 300}", "1 to 90 letters"),
        ("name=a/b", "name=a/b: a run's name"),
        ("name=latest", "name=latest: a run's name"),
        ("+site.Klinik={organ: brain}", "site.Klinik: a site's name is 1 to 50"),
        ("site.hospital1.roles=[training]", "site.hospital1.roles=[training]: must be one of train, evaluate"),
        ("site.hospital1.roles=[]", "site.hospital1.roles=[]: must name at least one of train, evaluate"),
        ("site.hospital1.roles=[train,train]", "site.hospital1.roles=[train,train]: train stands there twice"),
        ("simulation.threads=-1", "simulation.threads=-1: must be from 0 to 1,024"),
        ("simulation.client_cpus=0", "simulation.client_cpus=0: must be above 0, at most 1,024"),
        ("privacy.epsilon=inf", "privacy.epsilon=inf: must be above 0"),
        ("classifier.batch_size=0", "classifier.batch_size=0: must be from 1 to 4,096"),
        ("classifier.batch_size=-4", "classifier.batch_size=-4: must be from 1 to 4,096"),
        ("strategy.proximal_mu=-1", "strategy.proximal_mu=-1: must be from 0 to 1,000,000"),
        ("strategy.proximal_mu=nan", "strategy.proximal_mu=nan: must be from 0 to 1,000,000"),
        ("models.cgan.learning_rate=nan", "models.cgan.learning_rate=nan: must be above 0"),
        ("models.cgan.batch_size=1", "models.cgan.batch_size=1: must be from 2 to 4,096"),
        ("privacy.max_grad_norm=inf", "privacy.max_grad_norm=inf: must be from 1e-06 to 1,000,000"),
        ("privacy.clip=1", "privacy.clip=1: is called privacy.max_grad_norm now"),
        ("privacy.patients_per_step=8", "is called privacy.expected_batch_size now"),
        ("privacy.gradients=loop", "is called privacy.grad_sample_mode now"),
        ("privacy.steps_share=0.5", "is called privacy.dp_step_fraction now"),
        ("classifier.own_prevalence=false", "is called classifier.logit_adjustment now"),
        ("models.cgan.tuning_steps=5", "models.cgan.tuning_steps=5: is called models.cgan.finetune_steps now"),
        ("models.cgan.organs_alike=true", "is called models.cgan.balance_organs now"),
        ("models.cgan.from_surroundings=true", "is called models.cgan.init_from_context now"),
        ("models.cgan.filled_beside=true", "is called models.cgan.decoy_inpainting now"),
        ("strategy.norm_bound=0", "strategy.norm_bound=0: must be from 1 to"),
        ("evaluation.frechet_images=0", "evaluation.frechet_images=0: must be from 4 to"),
        ("evaluation.frechet_images=2", "evaluation.frechet_images=2: must be from 4 to"),
        ("evaluation.paired_images=0", "evaluation.paired_images=0: must be from 1 to"),
        ("evaluation.features=foo", "evaluation.features=foo: must be one of efficientnet_lite0, inception_v3"),
        ("models.cgan.ema=2", "models.cgan.ema=2: must be at least 0, below 1"),
        ("organs.brain.steps.window=[4,-2]", "organs.brain.steps.window=[4,-2]: two ascending numbers"),
        ("image.min_foreground=2", "image.min_foreground=2: must be at least 0, below 1"),
        ("strategy.quorum=99", "strategy.quorum=99: only 3 sites (hospital1, hospital2 and hospital3) train"),
        ("organs.brain.contrasts=[flair,flair]", "flair stands there twice"),
        ("organs.brain.contrasts=[t1x]", "organs.brain.contrasts=[t1x]: must be one of t1, t1ce"),
        ("study.arms=[real,real]", "real stands there twice"),
        ("model=[cgan,cgan]", "model=[cgan,cgan]: cgan stands there twice"),
        ("organ=[brain,brain]", "organ=[brain,brain]: brain stands there twice"),
    ],
)
def test_a_value_that_is_not_allowed_ends_at_once_and_leaves_nothing(
    given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, error = ended(["run", "preset=pilot", "organ=[brain]", "site=brain", given], capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("error: ")
    assert told in error
    assert "epair" not in error
    assert "own log" not in error
    assert list(tmp_path.iterdir()) == []


def test_latest_stays_where_it_was(tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "before").mkdir(parents=True)
    (tmp_path / "runs" / "latest").symlink_to("before")
    assert ended(["run", *tiny_study.with_output(tmp_path, "study.folds=50")], capsys)[0] == 2
    assert (tmp_path / "runs" / "latest").readlink() == Path("before")
    assert sorted(one.name for one in (tmp_path / "runs").iterdir()) == ["before", "latest"]


def test_more_folds_than_patients_are_refused_before_anything_is_trained(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the demo's patients before they are made, of others as soon as they are counted."""
    demo = ["run", "preset=pilot", "site=brain", "organ=[brain]", "study.folds=20"]
    sizes = ["cohort.train=7", "cohort.validation=0", "cohort.test=0"]
    code, error = ended([*demo, *sizes], capsys)
    assert code == 2
    assert "study.folds=20: hospital1 has 7 patients, of whom 2 test" in error
    code, error = ended(["run", *tiny_study.with_output(tmp_path, "study.folds=20")], capsys)
    assert code == 2
    assert "study.folds=20: hospital1 has 10 patients" in error
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["study.arms=[]"], "study.arms=[]: no classifier is trained"),
        (["privacy=patient_dp", "privacy.epsilon=1e6", "model=[wgan_gp]"], "privacy.epsilon=1e+06: so large a budget"),
        (["privacy.epsilon=1e6"], "privacy.epsilon=1e+06: has no effect"),
        (["federation.local_steps=0"], "local_steps=0 (models.cgan): a round is one pass"),
        (["classifier.federation.local_steps=0"], "local_steps=0 (classifier): a round is one pass"),
    ],
)
def test_what_runs_and_may_not_be_meant_is_said(given: list[str], said: str) -> None:
    plain = ["preset=pilot", "organ=[brain]", "site=brain"]
    assert notes(checked(plain)) == []
    (found,) = notes(checked([*plain, *given]))
    assert found.startswith(said)


def test_a_key_that_no_file_mentions_needs_no_plus() -> None:
    paper = ["preset=paper", "model=[wgan_gp]", "site=brain", "organ=[brain]", "evaluation.features=efficientnet_lite0"]
    local = ["classifier=small_resnet", "models.wgan_gp.federation.local_steps=2"]
    assert model_of(checked([*paper, *local]), "wgan_gp").federation.local_steps == 2
    steps = ["preset=pilot", "site=brain", "organ=[brain]", "models.cgan.federation.local_steps=2,3"]
    runs, _ = planned_runs(*split_axes(steps))
    assert [model_of(run.experiment, "cgan").federation.local_steps for run in runs] == [2, 3]


def test_a_learning_rate_that_is_too_high_is_named_as_the_cause(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("federation.rounds=3", "study.arms=[]", "models.cgan.learning_rate=1e6")
    code, error = ended(["run", *tiny_study.with_output(tmp_path, *quick)], capsys)
    assert code == 4
    assert "a resumed run keeps it: start a new run, e.g. with a lower models.cgan.learning_rate" in error


def test_the_smallest_numbers_of_images_are_enough_to_score(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("evaluation.frechet_images=4", "evaluation.paired_images=1", "federation.rounds=1", "study.arms=[]")
    assert ended(["run", *tiny_study.with_output(tmp_path, *few)], capsys)[0] == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["classifier=resnet50", "classifier.pretrained=false", "image.size=32", "classifier.batch_size=1"],
            "classifier.batch_size=1: must be at least 2 with classifier.network=resnet50 and image.size=32",
        ),
        (["models.cgan.depth=6"], "models.cgan.depth=6: needs slices and crops of at least 64 pixels"),
        (
            ["models.cgan.discriminator_layers=4"],
            "models.cgan.discriminator_layers=4: needs slices and crops of at least 48",
        ),
        (
            ["image.size=2048", "models.cgan.crop=0", "models.cgan.batch_size=4096"],
            "models.cgan.batch_size=4096: with slices",
        ),
        (["models.cgan.width=2048", "models.cgan.depth=5"], "models.cgan.width=2048, models.cgan.depth=5"),
        (["site.hospital1.patients=0"], "site.hospital1.patients=0: must be from 1"),
        (["site.hospital1.options={labels: 3}"], "site.hospital1.options={'labels': 3}: unknown option 'labels'"),
        (["privacy=patient_dp", "model=[wgan_gp]", "privacy.rates.wgan_gp/critik=2"], "wgan_gp has the optimisers"),
    ],
)
def test_what_could_not_be_trained_is_told_by_its_keys(
    given: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, error = ended(["run", "preset=pilot", "organ=[brain]", "site=brain", *given], capsys)
    assert code == 2
    assert told in error
    assert list(tmp_path.iterdir()) == []
