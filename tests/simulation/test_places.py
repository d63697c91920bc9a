"""Where data lie, and what the demo does without its CT anatomy."""

from pathlib import Path

import pytest

from common.study.config import compose
from common.study.progress import NoProgress
from simulation import places
from simulation.cohort.ct.download import unavailable


class Told(NoProgress):
    """Keeps what would be shown."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise unavailable("no index can be reached")

    monkeypatch.setattr(places, "fetch_ct_anatomies", fail)


def test_without_the_ct_anatomy_the_demo_says_so_and_keeps_its_brain_sites(no_download: None) -> None:
    told = Told()
    left = places.without_unavailable_demo(compose(["preset=demo"]), told)
    assert sorted(left.site) == ["external-brain", "hospital1", "hospital2"]
    assert list(left.organs) == list(left.reference) == ["brain"]
    assert "no index can be reached" in told.messages[0]
    assert told.messages[1] == "the demo runs without hospital3, hospital4, external-lung, external-liver"


def test_a_study_of_lungs_alone_cannot_do_without_it(no_download: None) -> None:
    with pytest.raises(places.AnatomyUnavailableError, match="site=brain"):
        places.without_unavailable_demo(compose(["preset=demo", "site=lung"]), Told())


def test_nothing_is_fetched_for_data_of_ones_own(no_download: None, tmp_path: Path) -> None:
    own = [f"site.{name}.path={tmp_path}" for name in ("hospital3", "hospital4", "external-lung", "external-liver")]
    references = [f"reference.{organ}.path={tmp_path}" for organ in ("lung", "liver")]
    experiment = compose(["preset=demo", *own, *references])
    assert places.without_unavailable_demo(experiment, Told()) is experiment


def test_a_reference_set_of_the_demo_needs_it_too(no_download: None, tmp_path: Path) -> None:
    own = [f"site.{name}.path={tmp_path}" for name in ("hospital3", "hospital4", "external-lung", "external-liver")]
    with pytest.raises(places.AnatomyUnavailableError, match=r"reference\.lung\.path"):
        places.without_unavailable_demo(compose(["preset=demo", *own]), Told())
