"""What a site's round of training leaves behind in memory, and what may be chosen without changing its result."""

import gc
from pathlib import Path

import pytest
import torch
from opening import about, open_study
from tiny import TINY, TINY_CYCLEGAN, write_site
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.site import SiteSettings
from client.training.rounds import train_gan
from common.protocol.records import Instruction
from common.study.config import compose
from common.training.build import build_gan_trainer
from common.training.trainer import Trainer

STUDY = compose([*TINY, "model=[cgan,cyclegan]", *TINY_CYCLEGAN])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1, contrasts=("flair", "t1"))


def session_at(folder: Path, data: Path, **changes: object) -> OpenStudy:
    settings = SiteSettings(
        name="north",
        reader="brats",
        organ="brain",
        path=data,
        contrasts=["flair", "t1"],
        folder=folder / "site",
        cache_dir=data.parent / "cache",
        **changes,
    )
    return open_study(settings, STUDY, "run")


def first_weights(model: str) -> dict[str, Tensor]:
    return build_gan_trainer(STUDY, model, device=torch.device("cpu"), weights=STUDY.weights).shared_arrays()


def asked(model: str, server_round: int) -> Instruction:
    return Instruction.model_validate(
        {
            "run": "run",
            "phase": f"gan/{model}",
            "server-round": server_round,
            "counted": server_round - 1,
            "model": model,
        }
    )


def trainers_in_memory() -> int:
    gc.collect()
    return sum(isinstance(one, Trainer) for one in gc.get_objects())


def test_nothing_of_a_rounds_trainer_stays_in_memory(tmp_path: Path, data: Path) -> None:
    session, before = session_at(tmp_path, data), trainers_in_memory()
    train_gan(about(session, asked("cgan", 1)), first_weights("cgan"))
    assert trainers_in_memory() == before


def test_a_trainer_of_exchanged_gradients_stays_until_the_last_exchange(tmp_path: Path, data: Path) -> None:
    session, before = session_at(tmp_path, data), trainers_in_memory()
    weights = first_weights("cyclegan")
    kept = []
    for exchange in range(1, 5):  # two rounds of two steps
        train_gan(about(session, asked("cyclegan", exchange)), weights)
        kept.append(trainers_in_memory() - before)
    assert kept == [1, 1, 1, 0]


def test_another_model_takes_the_place_of_a_trainer_that_waits(tmp_path: Path, data: Path) -> None:
    session, before = session_at(tmp_path, data), trainers_in_memory()
    train_gan(about(session, asked("cyclegan", 1)), first_weights("cyclegan"))
    train_gan(about(session, asked("cgan", 1)), first_weights("cgan"))
    assert trainers_in_memory() == before


def test_batches_drawn_ahead_give_the_same_weights(tmp_path: Path, data: Path) -> None:
    updates = [
        train_gan(
            about(session_at(tmp_path / str(ahead), data, prefetch=ahead), asked("cgan", 1)), first_weights("cgan")
        )
        for ahead in (0, 3)
    ]
    assert updates[0].losses == updates[1].losses
    assert all(torch.equal(value, updates[1].arrays[name]) for name, value in updates[0].arrays.items())
