"""``oncofed-simulation cohort`` makes what is asked for, and refuses what it could not heed."""

import re
from pathlib import Path

import pytest

from common.errors import ConfigError
from simulation.cli import COHORT_HELP, main
from simulation.cohort.command import asked_for
from simulation.places import demo_sizes

SMALL = ("cohort.train=1", "cohort.validation=0", "cohort.test=1", "cohort.slices=8", "cohort.workers=1")


def made(cache: Path) -> dict[str, int]:
    """Patients on the disk, by the name of their folder."""
    folders = sorted(folder for folder in cache.glob("cohort/*/*") if folder.is_dir())
    return {f"{folder.parent.name.rsplit('-', 1)[0]}/{folder.name}": len(list(folder.iterdir())) for folder in folders}


def test_only_the_patients_that_were_asked_for_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache, sheet = tmp_path / "cache", tmp_path / "sheet.png"
    none = ("cohort.external=0", "cohort.reference=0")
    words = ["cohort", "organ=[brain]", *SMALL, *none, f"simulation.cache_dir={cache}", "--sheet", str(sheet)]
    with pytest.raises(SystemExit) as exit_:
        main(words)
    said = capsys.readouterr()
    assert exit_.value.code == 0, said.err
    assert "4 patients: hospital1 2, hospital2 2, external-brain 0, reference set of the brain 0" in said.out
    assert made(cache) == {"hospital1/patients": 2, "hospital2/patients": 2}
    assert sheet.is_file()
    named = [line.partition(": ")[0] for line in said.out.splitlines() if line.endswith("/patients")]
    assert named == ["hospital1", "hospital2"]


def test_sites_that_share_a_data_set_get_their_patients_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    share = ("site=none", "organ=[brain]", "+partition.city.sites=2", "cohort.reference=0")
    with pytest.raises(SystemExit) as exit_:
        main(["cohort", *share, *SMALL, f"simulation.cache_dir={cache}", "--sheet", str(tmp_path / "sheet.png")])
    assert exit_.value.code == 0, capsys.readouterr().err
    assert made(cache) == {"city/patients": 4}


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        (["site=brain_pair"], {"hospital1": 34, "hospital2": 34, "brain": 48}),
        (["site=brain_pair", "cohort.train=6"], {"hospital1": 28, "hospital2": 28, "brain": 48}),
        (["site=brain_pair", "preset=pilot"], {"hospital1": 30, "hospital2": 30, "brain": 48}),
        (["site=brain_pair", "cohort.reference=2"], {"hospital1": 34, "hospital2": 34, "brain": 6}),
        (["site=brain_pair", "reference.brain.path=/data"], {"hospital1": 34, "hospital2": 34}),
        (["site=brain_pair", "site.hospital1.path=/data"], {"hospital2": 34, "brain": 48}),
        (
            ["site=brain_pair", "site.hospital2.roles=[evaluate]", "cohort.external=5"],
            {"hospital1": 34, "hospital2": 5, "brain": 48},
        ),
        (["organ=lung"], {"hospital3": 34, "external-lung": 20, "lung": 48}),
        (["organ=[brain]", "cohort.external=3"], {"hospital1": 34, "hospital2": 34, "external-brain": 3, "brain": 48}),
        (["site=none", "organ=[liver]"], {"liver": 48}),
        (["site=brain_pair", "+site.third.scanner=c"], {"hospital1": 34, "hospital2": 34, "third": 34, "brain": 48}),
    ],
    ids=" ".join,
)
def test_each_override_has_its_effect(overrides: list[str], sizes: dict[str, int]) -> None:
    counted = demo_sizes(asked_for(overrides))
    assert {name.removeprefix("reference set of the "): count for name, count in counted.items()} == sizes


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["seed=3"], r"seed=3: changes nothing.*cohort\.seed"),
        (["split.train=4"], r"split\.train=4: changes nothing.*cohort\.train"),
        (["image.size=128"], r"image\.size=128: changes nothing"),
        (["model=[wgan_gp]"], "changes nothing"),
        (["site.hospital1.device=cuda"], "changes nothing"),
        (["organ=[brain]", "site.hospital3.scanner=b"], r"site\.hospital3\.scanner=b: changes nothing"),
        (["site=brain_pair", "cohort.external=5"], r"cohort\.external=5: changes nothing"),
        (["site=none", "cohort.train=5"], r"cohort\.train=5: changes nothing"),
        (["site=brain_pair", "reference.brain.path=/data", "cohort.reference=5"], r"cohort\.reference=5: changes"),
        (["site=brain", "organ=[brain,lung]"], r"organ=lung: no site has it.*site=lung"),
        (["site=none", "cohort.reference=0"], "no patient to make"),
        (["cohort.patients=3"], "patients"),
        (["organ=[heart]"], "heart"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_would_change_nothing_is_refused(overrides: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        asked_for(overrides)


def test_the_help_names_the_demos_size_and_examples_that_work() -> None:
    assert f"the demo's: {sum(demo_sizes(asked_for([])).values())} patients" in COHORT_HELP
    examples = re.findall(r"^  oncofed-simulation cohort ((?:\S+=\S+ ?)+)", COHORT_HELP, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        assert demo_sizes(asked_for(example.split()))
