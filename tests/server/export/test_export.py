import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from PIL import Image

from common.errors import ConfigError
from common.export.loading import read_safetensors
from common.export.manifest import Content, read_manifest
from common.export.model import network_weights
from common.results.privacy import PrivacyResults, PrivacyStatement
from common.results.study import Results
from common.seeding import derive_seed
from common.study.conditions import condition_code
from common.study.config import from_yaml
from common.study.phases import gan_phase
from common.training.build import build_gan_trainer
from common.training.kinds import SamplingTrainer, TranslatingTrainer
from common.training.trainer import Trainer
from server.checkpoint import PhaseCheckpoints
from server.cli import main
from server.export.command import Choices, Written, export_run
from server.export.finished import FinishedRun
from server.reference import reference_part
from server.settings import settings_after_run

COUNT = 6

ALONE = """
import importlib.util, sys
for name in ("common", "server", "safetensors", "pydantic", "flwr"):
    sys.modules[name] = None
import torch
outputs = []
for file, inputs in torch.load(sys.argv[1], weights_only=True):
    spec = importlib.util.spec_from_file_location("load_generator", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        outputs.append(module.load_generator()(*inputs))
torch.save(outputs, sys.argv[2])
"""


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Written]]:
    to = tmp_path_factory.mktemp("exported")
    return to, export_run(finished, Choices(to=to, images=COUNT), lambda text: None)


def trainer_of(run: Path, name: str) -> Trainer[Any]:
    """The trainer with the weights of the chosen round, built without the export."""
    experiment = from_yaml((run / "config.yaml").read_text())
    trainer = build_gan_trainer(experiment, name, device=torch.device("cpu"), weights=experiment.weights)
    trainer.load_shared_arrays(chosen_weights(run, name))
    return trainer


def chosen_weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    chosen = Results.model_validate_json((run / "results.json").read_text()).gans[name].chosen_round
    assert chosen is not None
    return PhaseCheckpoints(run, gan_phase(name, 1)).weights(chosen)


def pixels(folder: Path, contrast: str) -> np.ndarray:
    """(N, H, W) in [0, 1], as the PNG files hold them."""
    files = [image.png[contrast].path for image in read_manifest(folder).images]
    return np.stack([np.array(Image.open(folder / file)) for file in files]) / 65535


def test_every_gan_gets_its_generators_and_its_images(exported: tuple[Path, list[Written]]) -> None:
    to, written = exported
    assert {str(Path(one.folder).relative_to(to)) for one in written} == {
        "cgan/generator",
        "cgan/images-brain",
        "wgan_gp/generator",
        "wgan_gp/images-brain",
        "cyclegan/generator-ab",
        "cyclegan/generator-ba",
        "cyclegan/images-brain-t1-to-brain-t2",
        "cyclegan/images-brain-t2-to-brain-t1",
    }
    assert all(Path(one.folder).is_dir() for one in written)
    assert {one.images for one in written if one.kind == "images"} == {COUNT}


def test_sampled_slices_are_those_of_the_trainer_with_the_weights_of_the_chosen_round(
    finished: Path, exported: tuple[Path, list[Written]]
) -> None:
    trainer = trainer_of(finished, "wgan_gp")
    assert isinstance(trainer, SamplingTrainer)
    folder = exported[0] / "wgan_gp" / "images-brain"
    tumour = torch.tensor([image.tumour for image in read_manifest(folder).images])
    assert tumour.tolist() == [True] * 3 + [False] * 3
    expected = trainer.sample(tumour, condition_code("brain", ["flair"]), derive_seed(1, "export", "wgan_gp", "brain"))
    assert np.abs(pixels(folder, "flair") - expected[:, 0].numpy()).max() <= 0.5 / 65535 + 1e-6


def test_translated_slices_are_those_of_the_trainer_on_the_reference_sets_part_for_pre_training(
    finished: Path, exported: tuple[Path, list[Written]]
) -> None:
    trainer = trainer_of(finished, "cyclegan")
    assert isinstance(trainer, TranslatingTrainer)
    settings = settings_after_run(finished, from_yaml((finished / "config.yaml").read_text()))
    slices = reference_part(settings, "brain", "pretraining", contrasts=["t1"])
    possible = trainer.translate(slices.all().images, 0)[:, 0].numpy()
    made = pixels(exported[0] / "cyclegan" / "images-brain-t1-to-brain-t2", "t2")
    nearest = np.abs(made[:, None] - possible).max((2, 3))
    assert (nearest.min(1) <= 0.5 / 65535 + 1e-6).all()
    assert len(set(nearest.argmin(1))) == COUNT


def test_only_what_the_generator_was_told_to_fill_differs_from_the_reference_slice(
    finished: Path, exported: tuple[Path, list[Written]]
) -> None:
    settings = settings_after_run(finished, from_yaml((finished / "config.yaml").read_text()))
    real = reference_part(settings, "brain", "pretraining").all().images[:, 0].numpy()
    made = pixels(exported[0] / "cgan" / "images-brain", "flair")
    same = (np.abs(made[:, None] - real) <= 1e-3).mean((2, 3)).max(1)
    assert (same > 0.5).all()
    assert (same < 1).all()


def test_a_set_says_whether_it_shows_anybodys_anatomy_and_whose(exported: tuple[Path, list[Written]]) -> None:
    sets = {one.folder: read_manifest(Path(one.folder)) for one in exported[1] if one.kind == "images"}
    for folder, manifest in sets.items():
        sampled = "wgan_gp" in folder
        assert manifest.content is (Content.GENERATED if sampled else Content.ALTERED)
        assert ("public reference set" in manifest.statement) is not sampled
        assert "not to be handed on" not in manifest.statement
        assert "No privacy guarantee" in manifest.privacy_statement


def test_other_software_reads_the_images_and_the_masks(exported: tuple[Path, list[Written]]) -> None:
    folder = exported[0] / "cgan" / "images-brain"
    manifest = read_manifest(folder)
    grey = pixels(folder, "flair")
    for image, expected in zip(manifest.images, grey, strict=True):
        path = folder / image.dicom["flair"].path
        assert pydicom.dcmread(path).SyntheticData == "YES"
        assert np.allclose(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], expected * 65535)
        assert (image.segmentation is not None) is image.tumour
        if image.segmentation is not None and image.png_labels is not None:
            masks = hd.seg.segread(folder / image.segmentation.path).pixel_array
            labels = np.array(Image.open(folder / image.png_labels.path))
            assert masks.reshape(-1, *labels.shape).any(0).tolist() == (labels > 0).tolist()


def test_loaders_work_where_only_torch_is_with_the_networks_that_make_the_trainers_images(
    finished: Path, exported: tuple[Path, list[Written]], tmp_path: Path
) -> None:
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    inside = trainer_of(finished, "cgan").networks["generator"].entry.convolution.in_channels
    cases = {
        ("cgan", "generator", "generator_ema"): [normal(2, inside, 32, 32), condition_code("brain", ["flair"])],
        ("wgan_gp", "generator", "generator"): [normal(2, 64), normal(2, 1, 32, 32), normal(2, 10)],
        ("cyclegan", "generator-ba", "generator_ba_ema"): [normal(2, 1, 32, 32)],
    }
    files = [str(exported[0] / name / folder / "load_generator.py") for name, folder, _ in cases]
    torch.save(list(zip(files, cases.values(), strict=True)), tmp_path / "in.pt")
    command = [sys.executable, "-I", "-c", ALONE, tmp_path / "in.pt", tmp_path / "out.pt"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    outputs = torch.load(tmp_path / "out.pt", weights_only=True)
    for ((name, _, network), inputs), output in zip(cases.items(), outputs, strict=True):
        with torch.no_grad():
            expected = trainer_of(finished, name).networks[network].eval()(*inputs)
        assert torch.allclose(output, expected, atol=1e-5)


def test_the_weights_are_those_of_the_chosen_round(finished: Path, exported: tuple[Path, list[Written]]) -> None:
    tensors, _ = read_safetensors(exported[0] / "cgan" / "generator" / "generator.safetensors")
    chosen = network_weights(chosen_weights(finished, "cgan"), "generator_ema")
    assert tensors.keys() == chosen.keys()
    assert all(torch.equal(tensors[key], chosen[key]) for key in chosen)


def test_a_card_tells_sites_scores_and_that_there_is_no_guarantee(
    finished: Path, exported: tuple[Path, list[Written]]
) -> None:
    results = Results.model_validate_json((finished / "results.json").read_text())
    card = (exported[0] / "cyclegan" / "generator-ba" / "MODEL_CARD.md").read_text()
    final = results.gans["cyclegan"].final["brain t2 to brain t1"]
    distance = final["frechet"]
    assert f"| FD-EffLite0, brain t2 to brain t1 | {distance.of.text(distance.value)} |" in card
    assert "brain t1 to brain t2" not in card
    assert "| Sites | 2 |" in card
    assert "| Patients at these sites | 20 |" in card
    assert "No privacy guarantee was given" in card
    assert f"round {results.gans['cyclegan'].chosen_round} of 2" in card
    assert str(finished) not in card


def test_the_same_export_again_is_refused_unless_it_shall_replace_the_first(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "export",
        str(finished),
        "--model",
        "wgan_gp",
        "--images",
        "2",
        "--formats",
        "png",
        "--to",
        str(tmp_path),
    ]
    assert exit_code([*command, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert [(one["kind"], one["images"]) for one in written] == [("generator", 0), ("images", 2)]
    before = (tmp_path / "wgan_gp" / "generator" / "generator.safetensors").stat().st_mtime_ns
    assert exit_code([*command, "--seed", "5"]) == 2
    assert "earlier export" in capsys.readouterr().err
    assert (tmp_path / "wgan_gp" / "generator" / "generator.safetensors").stat().st_mtime_ns == before
    first = pixels(tmp_path / "wgan_gp" / "images-brain", "flair")
    assert exit_code([*command, "--seed", "5", "--replace"]) == 0
    assert not np.array_equal(pixels(tmp_path / "wgan_gp" / "images-brain", "flair"), first)
    assert not list((tmp_path / "wgan_gp" / "images-brain").rglob("*.dcm"))


def exit_code(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"models": ["pix"]}, "it has cgan, wgan_gp, cyclegan"),
        ({"images": -1}, "--images -1"),
        ({"formats": ["tiff"]}, "--formats tiff"),
        ({"formats": []}, "--formats"),
    ],
)
def test_a_wrong_choice_is_told_before_anything_is_written(
    finished: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        export_run(finished, Choices(to=tmp_path / "to", **changes), lambda text: None)
    assert not (tmp_path / "to").exists()


def copy_of(run: Path, to: Path) -> Path:
    """A run's folder without what a test would have to change in the original."""
    for name in ("config.yaml", "results.json"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes((run / name).read_bytes())
    (to / "checkpoints").mkdir()
    (to / "checkpoints" / "gan").symlink_to(run / "checkpoints" / "gan")
    return to


def test_a_run_that_has_not_ended_is_refused_with_the_way_on(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["run"]["finished"] = None
    (folder / "results.json").write_text(json.dumps(results))
    with pytest.raises(ConfigError, match=r"not finished; go on with .* resume="):
        export_run(folder, Choices(), lambda text: None)
    with pytest.raises(ConfigError, match=r"no config\.yaml"):
        export_run(tmp_path, Choices(), lambda text: None)


def test_where_the_reference_set_is_not_known_generators_alone_can_be_had(finished: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path / "run")
    config = (folder / "config.yaml").read_text()
    named = json.loads((finished / "checkpoints" / "places.json").read_text())["reference"]["brain"]
    (folder / "config.yaml").write_text(config.replace(f"path: {named}", "path: null"))
    with pytest.raises(ConfigError, match="--images 0"):
        export_run(folder, Choices(models=["cgan"]), lambda text: None)
    assert not (folder / "export").exists()
    (written,) = export_run(folder, Choices(models=["cgan"], images=0), lambda text: None)
    assert Path(written.folder) == folder / "export" / "cgan" / "generator"


def test_the_card_of_a_private_generator_says_with_what_guarantee(finished: Path) -> None:
    """The worst-off site's, of the whole study; and none at all if one site that trained did not state its own."""
    run = FinishedRun.read(finished)
    gan = run.gan("cgan")
    assert run.provenance(gan).privacy is None
    statements = {
        site: PrivacyStatement(
            delta=1e-5,
            patients=100,
            max_grad_norm=1.0,
            mechanisms=[],
            models={},
            epsilon=epsilon,
            epsilon_rdp=epsilon + 1,
        )
        for site, epsilon in zip(gan.sites, (2.0, 3.5, 1.0), strict=False)
    }
    run.results.privacy = PrivacyResults(sites=statements)
    stated = run.provenance(gan).privacy
    assert stated is not None
    assert (stated.epsilon, stated.delta, stated.unit) == (max(s.epsilon for s in statements.values()), 1e-5, "patient")
    run.results.privacy = PrivacyResults(sites=dict(list(statements.items())[1:]))
    assert run.provenance(gan).privacy is None
