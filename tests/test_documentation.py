"""What the pages say is checked against the code, so that they cannot grow old unnoticed."""

import dataclasses
import itertools
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from client.cli import main as client_command
from client.data.preparation import study_to_join
from client.site import SiteSettings, load_site
from common import errors
from common.imaging.readers.registry import READERS
from common.protocol.actions import Action
from common.study.config import compose, to_yaml
from common.study.experiment import PreprocessingConfig
from simulation.sweep_axes import overrides_of, split_axes

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMAND_KEYS = ("resume", "dashboard")
"""Options of ``oncofed-simulation run`` that are no keys of an experiment."""


def anchor(heading: str) -> str:
    """The anchor that a Markdown page gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, part = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if part:
            assert part in [anchor(h) for h in re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_run_is_a_valid_experiment(page):
    for words in commands(page):
        if words[0].endswith("oncofed-simulation") and words[1:2] == ["run"]:
            overrides = [word for word in words[2:] if word.split("=")[0] not in COMMAND_KEYS]
            compose(overrides)
        options = [index for index, word in enumerate(words) if word.startswith("--")]
        given = words[2 : min([*options, len(words)])]
        if words[0].endswith("oncofed-simulation") and words[1:2] == ["audit-privacy"]:
            compose(given)
        if words[0].endswith("oncofed-simulation") and words[1:2] == ["sweep"]:
            fixed, axes = split_axes(given)
            for values in itertools.product(*(axis.values for axis in axes)):
                compose(overrides_of(fixed, dict(zip([axis.key for axis in axes], values, strict=True))))


def test_every_documented_client_command_is_understood(tmp_path, monkeypatch):
    """Each is parsed and its study composed; what it then does is tested elsewhere."""
    done = []
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(compose([]), leaving=True))

    def understood(site, overrides, study, *_, **__):
        done.append(study_to_join(overrides, study and config))

    monkeypatch.setattr("client.data.preparation.prepare", understood)
    monkeypatch.setattr("client.doctor.command.doctor", understood)
    monkeypatch.setattr("client.privacy.command.budget", understood)
    for page in PAGES:
        for words in commands(page):
            if words[0].endswith("oncofed-client") and words[1] in ("prepare", "doctor", "budget"):
                with pytest.raises(SystemExit) as exit_:
                    client_command(words[1:])
                assert exit_.value.code == 0, words
    assert len(done) >= 4


def test_every_documented_make_target_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {words[1] for page in PAGES for words in commands(page) if words[0] == "make"}
    assert named >= {"demo", "test"}
    assert named <= set(targets)


def test_the_researchers_page_lists_the_choices_of_each_group():
    page = (ROOT / "docs/researcher.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?`) \|", page, re.MULTILINE))
    for group in ("preset", "privacy", "model", "classifier", "strategy", "organ", "site"):
        files = {file.stem for file in (ROOT / "configs" / group).glob("*.yaml")}
        assert set(re.findall(r"`(\w+)`", rows[group])) == files


def test_the_researchers_page_lists_every_exit_code():
    page = (ROOT / "docs/researcher.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OncofedError)]
    assert {kind.exit_code for kind in kinds} | {0, 130} == documented


def test_the_architecture_page_lists_every_message():
    page = (ROOT / "docs/architecture.md").read_text()
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", page, re.MULTILINE)) == {action.value for action in Action}


def test_the_site_file_on_the_hospitals_page_loads_and_shows_the_cautious_defaults(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/hospital.md").read_text(), re.DOTALL)
    file = tmp_path / "site.yaml"
    file.write_text(example)
    site = load_site(file)
    assert site.path == tmp_path / "data" / "BraTS2021"
    permissions = ("share_site_model", "may_release_synthetic", "declare_counts", "identifying_data")
    for key in (*permissions, "device", "roles", "options"):
        assert getattr(site, key) == SiteSettings.model_fields[key].get_default(call_default_factory=True)
        assert key in OmegaConf.create(example)


def test_the_researchers_page_lists_every_step_of_preprocessing():
    page = (ROOT / "docs/researcher.md").read_text()
    table = page[page.index("| step | what it does |") : page.index("What a site's images need beside")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        f.name for f in dataclasses.fields(PreprocessingConfig)
    ]


def test_the_researchers_page_lists_every_reader():
    page = (ROOT / "docs/researcher.md").read_text()
    table = page[page.index("| reader | what it expects") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(READERS)


def test_each_message_of_the_page_about_files_is_said_somewhere():
    page = (ROOT / "docs/your-files.md").read_text().partition("## What messages mean")[2]
    said = "".join(path.read_text() for room in ("common", "client") for path in sorted((ROOT / room).rglob("*.py")))
    said = re.sub(r'"\s*\n\s*f?"', "", said)  # texts that go on on the next line
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in filter(None, (part.strip(" ,;:") for part in message.split("…"))):
            assert part in said, part
