"""Proxies at the coordinator: what is asked, what is refused, who is handed what, what a resumed run asks again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from tiny import TINY
from torch import Tensor

from common.errors import StudyError
from common.protocol.actions import Action
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    Instruction,
    SiteHello,
    read_instruction,
    received_arrays,
    reply_record,
    to_images,
)
from common.protocol.reply_checks import ImagesCheck
from common.study.config import compose
from common.study.models import model_of
from common.study.progress import NoProgress
from common.training.kinds import ProxySource
from common.training.trainer import View
from server.proxies import exchange_proxies
from server.roster import Member
from server.settings import StudySettings
from simulation.grid import FIRST_NODE, InProcessGrid

SITES = ("a1", "a2", "b1")
T1, T2 = View("brain", ("t1",)), View("brain", ("t2",))
VIEWS = {"a1": T1, "a2": T1, "b1": T2}
SOURCE = ProxySource("wgan_gp", 3)
WEIGHTS = {"generator.w": torch.ones(2), "critic.w": torch.ones(2)}
NOBODY = {"organ": "brain", "modality": "MR", "contrasts": [], "roles": [], "tasks": []}
MEMBERS = [
    Member(site, FIRST_NODE + index, SiteHello.model_validate({"site": site, **NOBODY}))
    for index, site in enumerate(SITES)
]
STUDY = [item for item in TINY if not item.startswith("models.")]
STUDY += ["model=[wgan_gp,cyclegan]", "models.cyclegan.exchange=proxies"]


def slices_of(site: str) -> Tensor:
    return torch.full((SOURCE.slices, 1, 32, 32), (1 + SITES.index(site)) / 4)


def good(site: str, instruction: Instruction) -> RecordDict:
    return RecordDict({CONFIG: reply_record(instruction, site), ARRAYS: to_images(slices_of(site))})


class Sites:
    """Three sites as ClientApps that answer a release as ``released`` says, and keep what they are handed."""

    def __init__(self, released: Callable[[str, Instruction], RecordDict | str] = good) -> None:
        self.released = released
        self.away: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.sent: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        app = ClientApp()
        app.query("release")(self._release)
        app.query("proxies")(self._take)
        self.grid = InProcessGrid(app, [Path(site) for site in SITES])

    def _asked(self, message: Message, context: Context) -> tuple[str, Instruction]:
        site = SITES[context.node_id - FIRST_NODE]
        self.asked.append((site, message.metadata.message_type))
        return site, read_instruction(message.content)

    def _release(self, message: Message, context: Context) -> Message:
        site, instruction = self._asked(message, context)
        self.sent |= received_arrays(message.content)
        answer = self.released(site, instruction)
        content = answer if isinstance(answer, RecordDict) else Error(code=101, reason=f"{site}: {answer}")
        return Message(content, reply_to=message)

    def _take(self, message: Message, context: Context) -> Message:
        site, instruction = self._asked(message, context)
        if site in self.away:
            return Message(Error(code=101, reason=f"{site}: it ran out of memory"), reply_to=message)
        self.kept[site] = ImagesCheck((1, 32, 32), 1).read(message.content)
        return Message(RecordDict({CONFIG: reply_record(instruction, site)}), reply_to=message)


def exchange(sites: Sites, folder: Path) -> dict[str, int]:
    experiment = compose([*STUDY, "strategy.quorum=2"])
    settings = StudySettings(experiment, "run", folder, 3, {}, folder, NoProgress(), "in_process")
    model = model_of(experiment, "cyclegan")
    return exchange_proxies(sites.grid, settings, model, SOURCE, MEMBERS, VIEWS, WEIGHTS)


def test_each_side_is_handed_the_other_sides_slices_in_the_order_of_names(tmp_path: Path) -> None:
    sites = Sites()
    assert exchange(sites, tmp_path) == {"a1": 3, "a2": 3, "b1": 3}
    assert torch.equal(sites.kept["b1"], torch.cat([slices_of("a1"), slices_of("a2")]))
    assert torch.equal(sites.kept["a1"], slices_of("b1"))
    assert torch.equal(sites.kept["a2"], slices_of("b1"))


def test_only_the_generators_weights_are_sent(tmp_path: Path) -> None:
    sites = Sites()
    exchange(sites, tmp_path)
    assert set(sites.sent) == {"generator.w"}


def _with(images: Tensor, site: str = "a1") -> Callable[[str, Instruction], RecordDict | str]:
    def answer(asked: str, instruction: Instruction) -> RecordDict:
        content = good(asked, instruction)
        if asked == site:
            content[ARRAYS] = to_images(images)
        return content

    return answer


@pytest.mark.parametrize(
    "images",
    [torch.full((3, 1, 32, 32), 1.5), torch.full((3, 1, 32, 32), float("nan")), torch.zeros(4, 1, 32, 32),
     torch.zeros(3, 1, 16, 16), torch.zeros(3, 1, 32, 32, dtype=torch.float16)],
)  # fmt: skip
def test_a_bad_release_is_left_out_and_the_other_site_of_its_side_stands_in(images: Tensor, tmp_path: Path) -> None:
    sites = Sites(_with(images))
    assert exchange(sites, tmp_path) == {"a2": 3, "b1": 3}
    assert torch.equal(sites.kept["b1"], slices_of("a2"))


def test_a_side_without_any_slices_ends_the_study_and_names_the_sender_and_the_reason(tmp_path: Path) -> None:
    sites = Sites(_with(torch.full((3, 1, 32, 32), -1.0), site="b1"))
    with pytest.raises(StudyError, match=r"no site released .* of brain t2\. b1: refused: the images hold"):
        exchange(sites, tmp_path)
    sites = Sites(lambda site, instruction: "it does not release" if site == "b1" else good(site, instruction))
    with pytest.raises(StudyError, match=r'b1: "it does not release"\. Repair those sites'):
        exchange(sites, tmp_path)
    assert sites.kept == {}


def test_a_resumed_run_asks_only_the_sites_that_were_not_reached(tmp_path: Path) -> None:
    sites = Sites()
    sites.away = {"a2", "b1"}
    with pytest.raises(StudyError, match=r"1 of 3 sites took their synthetic slices, 2 are needed\. a2: .it ran out"):
        exchange(sites, tmp_path)
    sites.away, sites.asked = set(), []
    assert exchange(sites, tmp_path) == {"a1": 3, "a2": 3, "b1": 3}
    assert sites.asked == [("a2", Action.TAKE_PROXIES), ("b1", Action.TAKE_PROXIES)]
    sites.asked = []
    exchange(sites, tmp_path)
    assert sites.asked == []
