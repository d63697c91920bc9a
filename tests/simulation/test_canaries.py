"""Nothing of a patient leaves a site: planted strings and pixels are searched for in everything that does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from dicom_files import ct_series, segmentation, write
from flwr.app import Message
from tiny import TINY, write_patient, write_site

from client.app import make_app, site_from_node_config
from common.results.study import Results
from common.study.config import compose
from common.study.progress import NoProgress
from server.app import run_study
from server.settings import StudySettings
from simulation.grid import InProcessGrid

CANARY = "zqcanary"
CAP = 9.87654321
"""A hospital's cap on its privacy budget: its own affair."""
BLOCK = 8
"""Consecutive pixels that count as a piece of a patient."""


class ListeningGrid(InProcessGrid):
    """Keeps everything that sites send."""

    def __init__(self, files: list[Path]) -> None:
        super().__init__(make_app(site_from_node_config), files)
        self.left: list[tuple[str, bytes]] = []

    def _run(self, message: Message) -> Message:
        reply = super()._run(message)
        self.left += [(message.metadata.message_type, piece) for piece in pieces_of(reply)]
        return reply


def pieces_of(reply: Message) -> Iterator[bytes]:
    """All bytes of a reply: arrays, texts, numbers, names, or an error's reason."""
    if reply.has_error():
        yield (reply.error.reason or "").encode()
        return
    for name, record in reply.content.items():
        yield name.encode()
        for key, value in record.items():
            yield key.encode()
            yield value.numpy().tobytes() if hasattr(value, "numpy") else repr(value).encode()


@dataclass(frozen=True)
class Listened:
    left: list[tuple[str, bytes]]
    run_dir: Path
    sites: Path
    private: bool


def write_dicom_patient(folder: Path, name: str, *, tumour: bool, seed: int) -> None:
    """The same kind of patient as DICOM: a series and a segmentation, with the canary in every name they have."""
    write_patient(folder.parent / "nifti", name, tumour=tumour, seed=seed)
    case = folder.parent / "nifti" / name
    image, labels = (np.asarray(nib.load(case / f"{name}_{role}.nii.gz").dataobj).T for role in ("flair", "seg"))
    slices = ct_series(image, patient=name, description=f"{CANARY} flair", modality="MR", intercept=0)
    write(slices, folder / name / CANARY)
    write([segmentation(slices, {"Tumour": labels > 0, f"{CANARY} box": image > 0})], folder / name / "seg")


def write_site_file(folder: Path, name: str, data: Path, **more: object) -> Path:
    home = folder / f"{CANARY}-home" / name
    home.mkdir(parents=True)
    values = {
        "name": name,
        "reader": "brats",
        "organ": "brain",
        "path": str(data),
        "threads": 1,
        "share_site_model": True,
        "min_update_patients": 1,
        "min_update_slices": 1,
        "folder": str(home),
        "cache_dir": str(home / "cache"),
        "weights": {"vgg19": f"/models/{CANARY}.pth"},
        **more,
    }
    (home / "site.yaml").write_text(yaml.safe_dump(values))
    return home / "site.yaml"


@pytest.fixture(scope="module", params=["none", "patient_dp"])
def listened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Listened:
    """A finished study, plain and private, of two sound sites, one of them with DICOM, one whose data are broken, and
    one that is too small to be shown."""
    private = request.param == "patient_dp"
    root = tmp_path_factory.mktemp("canaries")
    files = []
    for number, site in enumerate(("hospital1", "hospital2", "small", "broken"), start=1):
        data = root / f"{CANARY}-data" / site
        for index in range(4 if site == "small" else 10):
            make = write_dicom_patient if site == "hospital2" else write_patient
            make(data, f"{CANARY}-{site}-{index:02d}", tumour=index % 4 != 3, seed=100 * number + index)
        if site == "broken":
            for image in data.rglob("*_flair.nii.gz"):
                image.write_bytes(b"broken")
        dicom = {"reader": "dicom", "options": {"tumour_segments": ["tumour"]}} if site == "hospital2" else {}
        budget = {"privacy": {"epsilon": CAP, "patients": 8}} if private else {}
        files.append(write_site_file(root, site, data, **dicom, **budget))
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number)
    more = ["privacy=patient_dp", "pretraining.gan_steps=0", "pretraining.classifier_steps=0"] if private else []
    experiment = compose([*(item for item in TINY if not item.startswith("site.")), *more])
    grid = ListeningGrid(files)
    run_dir = root / "coordinator" / "run"
    run_study(
        grid,
        StudySettings(
            experiment=experiment,
            name="run",
            run_dir=run_dir,
            sites=4,
            reference={"brain": root / "reference"},
            cache_dir=root / "coordinator" / "cache",
            progress=NoProgress(),
            engine="in_process",
        ),
    )
    return Listened(grid.left, run_dir, root / f"{CANARY}-home", private)


def test_every_action_was_listened_to(listened: Listened) -> None:
    assert {action for action, _ in listened.left} == {
        "query.hello", "train.gan", "query.synthesise", "evaluate.arms", "train.classifier", "evaluate.classifier",
        "query.privacy" if listened.private else "query.site_model",
    }  # fmt: skip


def test_no_planted_string_is_in_any_message(listened: Listened) -> None:
    guilty = [(action, piece[:80]) for action, piece in listened.left if CANARY.encode() in piece.lower()]
    assert guilty == []


def test_no_planted_string_reaches_the_coordinators_files(listened: Listened) -> None:
    guilty = [
        file
        for file in listened.run_dir.rglob("*")
        if file.is_file() and CANARY.encode() in file.read_bytes() + file.name.encode()
    ]
    assert guilty == []


def pixel_patterns(sites: Path) -> Iterator[tuple[str, bytes]]:
    """A piece of each prepared slice, and of the same synthetic slice, in the number formats that arrays have."""
    for file in sites.rglob("images.npy"):
        for image in np.load(file)[:, 0]:
            middle = image[image.shape[0] // 2]
            block = middle[len(middle) // 2 - BLOCK // 2 :][:BLOCK]
            for dtype in (np.float16, np.float32, np.float64):
                yield str(file), block.astype(dtype).tobytes()
                yield str(file), (block.astype(np.float32) * 2 - 1).astype(dtype).tobytes()


def test_no_piece_of_a_patients_slice_is_in_any_message(listened: Listened) -> None:
    everything = b"\x00".join(piece for _, piece in listened.left)
    patterns = list(pixel_patterns(listened.sites))
    assert len(patterns) > 500
    assert [file for file, pattern in patterns if pattern in everything] == []


def test_the_search_would_find_a_piece_that_leaked(listened: Listened) -> None:
    file, pattern = next(pixel_patterns(listened.sites))
    assert pattern in np.load(file).tobytes()


def test_counts_that_were_not_declared_are_absent(listened: Listened) -> None:
    hellos = [piece for action, piece in listened.left if action == "query.hello"]
    text = b"".join(hellos).decode()
    assert '"patients":null' in text
    assert '"slices":null' in text
    assert '"examples":1' in text
    # In a private study the site that finds files, and can use none of them, does not say so: others might, for one.
    assert ("broken: its data cannot be used" in text) is not listened.private


def test_figures_of_fewer_than_five_patients_do_not_leave(listened: Listened) -> None:
    tree = Results.model_validate_json((listened.run_dir / "results.json").read_text())
    if listened.private:
        assert all(arms == {} for site, arms in tree.arms.items() if site != "federated")
        return
    assert tree.arms["small"]["real"].value("accuracy") is None
    assert tree.arms["small"]["real"].confusion is None
    assert tree.arms["hospital1"]["real"].value("accuracy") is not None
    assert (listened.sites / "small" / "runs" / "run" / "results" / "arms.json").exists()


def test_a_private_training_tells_its_weights_and_nothing_else(listened: Listened) -> None:
    """No loss, no norm, no number of patients or slices, and no figure of a training that was not private."""
    if not listened.private:
        assert any(piece.startswith(b"loss.") for action, piece in listened.left if action.startswith("train."))
        return
    trained = [piece for action, piece in listened.left if action.startswith("train.")]
    names = {piece for piece in trained if len(piece) < 60 and piece.isascii()}
    weights = {piece for piece in names if piece.split(b".")[0] in (b"generator", b"generator_ema", b"discriminator")}
    told = {name for name in names - weights if not name.startswith(b"classifier.")}
    assert {b"num-examples", b"1", b"run", b"site", b"phase", b"server-round"} <= told
    assert not [name for name in told if b"loss" in name or b"norm" in name or b"result" in name]
    numbers = {name for name in told if name.replace(b".", b"").isdigit()}
    assert numbers <= {b"1", b"2"}  # the weight of every site, and the round
    arms = [piece for action, piece in listened.left if action == "evaluate.arms" and b"{" in piece]
    assert set(arms) <= {b"""'{"arms":{},"left_out":{},"test_to_train":null}'"""}


def test_what_a_hospital_caps_is_its_own_affair(listened: Listened) -> None:
    everything = b"\x00".join(piece for _, piece in listened.left)
    assert str(CAP).encode() not in everything
    assert b"ledger" not in everything


def test_a_private_study_says_what_it_cost(listened: Listened) -> None:
    tree = Results.model_validate_json((listened.run_dir / "results.json").read_text())
    if not listened.private:
        assert tree.privacy is None
        return
    assert tree.privacy is not None
    assert set(tree.privacy.sites) == {"hospital1", "hospital2", "small", "broken"}
    for site, statement in tree.privacy.sites.items():
        lines = (listened.sites / site / "privacy" / "ledger.jsonl").read_text().splitlines()
        assert len(lines) > 5
        assert statement.patients == 8
        assert {one.mechanism for one in statement.mechanisms} == {
            "gan/cgan/discriminator", "gan/cgan/generator", "classifier/real/classifier",
            "classifier/real_synthetic/classifier", "classifier/synthetic/classifier",
        }  # fmt: skip
        assert {one.steps for one in statement.mechanisms} == {4}
        assert 0 < statement.epsilon <= statement.epsilon_rdp <= 8.0
        assert max(one.epsilon for one in statement.mechanisms) < statement.epsilon


def test_the_site_with_dicom_took_part(listened: Listened) -> None:
    tree = Results.model_validate_json((listened.run_dir / "results.json").read_text())
    assert "hospital2" in tree.gans["cgan"].rounds[0].contributors
