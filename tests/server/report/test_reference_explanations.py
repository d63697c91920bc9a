"""What is kept of the reference set: real slices and the same made again, by generators of several kinds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.figures.figure import Scores
from common.imaging.slices import PatientSlices, Slices
from common.report.page import ReportError
from common.results.study import Results
from common.study.experiment import ClassifierConfig, ImageConfig
from common.system.array_files import read_arrays
from common.training.cgan import Config as CganConfig
from common.training.cgan import Trainer as Cgan
from common.training.classifier import Trainer as Classifier
from common.training.wgan_gp import Config as WganConfig
from common.training.wgan_gp import Trainer as Wgan
from server.explanations import explain_reference
from server.report.build import build_study_report
from server.report.explanations import reference_explanations

STATISTICS = {"samples": 50, "seed": 1, "min_cell": 2}
IMAGE = ImageConfig(size=32)
CPU = torch.device("cpu")


def patient(index: int) -> PatientSlices:
    random = np.random.default_rng(index)
    foreground = np.zeros((6, 32, 32), np.uint8)
    foreground[:, 3:29, 3:29] = 1
    labels = np.zeros((6, 32, 32), np.uint8)
    labels[1:4, 8 + index : 14 + index, 12:18] = 4
    images = (0.4 + 0.05 * random.normal(size=(6, 1, 32, 32)) + 0.4 * (labels > 0)[:, None]) * foreground[:, None]
    return PatientSlices(f"reference-{index}", images.clip(0, 1).astype(np.float16), labels, foreground)


@pytest.fixture(scope="module")
def reference() -> Slices:
    return Slices("brain", ("flair",), [patient(i) for i in range(4)], 4)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    config = ClassifierConfig(width=4, batch_size=4)
    return Classifier(config, image=IMAGE, channels=1, device=CPU, seed=1, total_steps=1)


def cgan() -> Cgan:
    config = CganConfig(width=4, depth=2, discriminator_width=4, crop=32, perceptual_weight=0)
    return Cgan(config, image=IMAGE, organs={"brain": ("flair",)}, device=CPU, seed=1)


def wgan() -> Wgan:
    return Wgan(WganConfig(), image=IMAGE, organs={"brain": ("flair",)}, device=CPU, seed=1)


def drawn(folder: Path) -> dict[str, Any]:
    return read_arrays(folder / "brain.npz")


def test_real_slices_stand_beside_the_same_made_again(
    reference: Slices, classifier: Classifier, tmp_path: Path
) -> None:
    generator = cgan()
    found = explain_reference(classifier, reference, generator, tmp_path, **STATISTICS)
    arrays = drawn(tmp_path)
    tumour, synthetic = arrays["embedding_tumour"], arrays["embedding_synthetic"]
    assert [(tumour == t).sum() for t in (True, False)] == [24, 24]
    assert ((tumour) & synthetic).sum() == ((tumour) & ~synthetic).sum() == 12
    assert arrays["embedding_tsne"].shape == (48, 2)
    assert found["two_sample", "tumour"].patients == 4
    assert (found["attention"].n or 0) + (found["attention"].left_out or 0) == 12
    assert found["called_tumour", "refilled"].n == 12
    kept = json.loads((tmp_path / "brain.json").read_text())
    assert Scores.model_validate(kept) == found


def test_a_generator_that_changes_nothing_cannot_be_told_apart(
    reference: Slices, classifier: Classifier, tmp_path: Path
) -> None:
    class Copy(Cgan):
        def fill(
            self, images: Tensor, labels: Tensor, region: Tensor, condition: Tensor, generator: torch.Generator
        ) -> Tensor:
            return images.clone()

    config = CganConfig(width=4, depth=2, discriminator_width=4, crop=32, perceptual_weight=0)
    generator = Copy(config, image=IMAGE, organs={"brain": ("flair",)}, device=CPU, seed=1)
    found = explain_reference(classifier, reference, generator, tmp_path, **STATISTICS)
    for part in ("tumour", "healthy"):
        assert found["two_sample", part].value <= 0.5
    assert found["called_tumour", "refilled", "untouched"].value == 0
    points = drawn(tmp_path)["embedding_pca"]
    np.testing.assert_allclose(points[:12], points[24:36], atol=1e-4)


def test_a_generator_of_whole_slices_makes_new_ones(reference: Slices, classifier: Classifier, tmp_path: Path) -> None:
    found = explain_reference(classifier, reference, wgan(), tmp_path, **STATISTICS)
    assert {one.part for one in found.figures if one.metric == "two_sample"} == {"tumour", "healthy"}
    assert found.get(("called_tumour", "refilled")) is None
    assert "new slices" in str(drawn(tmp_path)["about"])


def test_without_a_generator_there_are_real_slices_alone(
    reference: Slices, classifier: Classifier, tmp_path: Path
) -> None:
    found = explain_reference(classifier, reference, None, tmp_path, **STATISTICS)
    assert {one.metric for one in found.figures} == {"attention"}
    assert not drawn(tmp_path)["embedding_synthetic"].any()


def test_the_study_report_draws_what_was_kept(
    reference: Slices, classifier: Classifier, results: Results, write_study: Callable[..., Path]
) -> None:
    run = write_study(results)
    assert "kept no picture of how its federated classifier" in build_study_report(run).read_text()
    found = explain_reference(classifier, reference, cgan(), run / "reference" / "explanations", **STATISTICS)
    page = build_study_report(run).read_text()
    section = page[page.index('<h3 id="explanations">') : page.index('<section class="panel" id="classifiers">')]
    assert "Brain: t-SNE" in section
    assert "synthetic, healthy (n = 12)" in section
    apart = found["two_sample", "tumour"].value
    assert apart is not None
    assert f"{apart:.3f}" in section
    assert "Healthy reference slices called tumour" in section
    assert "the same slices made again by the generator" in section
    figures = json.loads((run / "report" / "explanations.json").read_text())
    assert figures == {"brain": found.model_dump()}


def test_a_damaged_file_is_named(reference: Slices, classifier: Classifier, tmp_path: Path) -> None:
    explain_reference(classifier, reference, None, tmp_path, **STATISTICS)
    assert [one.subject for one in reference_explanations(tmp_path)] == ["brain"]
    (tmp_path / "brain.json").write_text("{")
    with pytest.raises(ReportError, match=r"brain\.npz"):
        reference_explanations(tmp_path)
    assert reference_explanations(tmp_path / "nothing") == []
