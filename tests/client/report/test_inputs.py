"""Whatever is missing or broken is named with its reason; the rest is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.report.inputs import FILES, Prediction, read_inputs

Write = Callable[..., Path]


def test_a_finished_site_has_every_part(write_site: Write) -> None:
    inputs = read_inputs(write_site() / "results")
    assert inputs.absent == {}
    assert inputs.summary is not None
    assert inputs.summary.patients.test == 20
    assert len(inputs.predictions) == 2 * 5 * 20 * 24
    assert inputs.gallery["blob"].shape == (6, 64, 64)


@pytest.mark.parametrize("part", FILES)
def test_a_missing_file_leaves_the_other_parts(part: str, write_site: Write) -> None:
    inputs = read_inputs(write_site(without=(FILES[part],)) / "results")
    assert list(inputs.absent) == [part]
    assert FILES[part] in inputs.absent[part]
    assert not getattr(inputs, part)


def test_a_site_that_only_evaluates_is_given_as_the_reason(write_site: Write) -> None:
    without = (*(FILES[part] for part in ("training", "arms", "gallery", "privacy")), "explanations")
    inputs = read_inputs(write_site(without=without, summary={"roles": ["evaluate"]}) / "results")
    assert set(inputs.absent) == {"training", "arms", "gallery", "privacy", "explanations"}
    assert all("trains nothing" in reason for reason in inputs.absent.values())


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("summary", b"{"),
        ("summary", b'{"organ": "brain"}'),
        ("arms", b'{"real": {"accuracy": 0.5}}'),
        ("predictions", b"arm,scope\nreal,local\n"),
        ("gallery", b"PK half a file"),
        ("training", b"not json\n{}\n"),
        ("cross_site", b"\xff\xfe"),
    ],
)
def test_a_broken_file_is_named_and_does_not_stop_the_rest(part: str, content: bytes, write_site: Write) -> None:
    site = write_site()
    (site / "results" / FILES[part]).write_bytes(content)
    inputs = read_inputs(site / "results")
    assert list(inputs.absent) == [part]
    assert f"{FILES[part]} could not be read" in inputs.absent[part]


def test_half_a_last_line_of_the_training_curve_is_passed_over(write_site: Write) -> None:
    path = write_site() / "results" / "training.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"phase": "gan/cgan", "rou')
    inputs = read_inputs(path.parent)
    assert len(inputs.training) == len(whole.splitlines())


def test_figures_that_are_not_numbers_are_figures_that_are_not_there(write_site: Write) -> None:
    path = write_site() / "results" / "training.jsonl"
    path.write_text('{"phase": "gan/cgan", "round": 1, "losses": {"l1": NaN, "adversarial": Infinity}}\n')
    assert read_inputs(path.parent).training[0].losses == {"l1": None, "adversarial": None}


def test_labels_of_another_shape_than_their_images_are_refused(write_site: Write) -> None:
    path = write_site() / "results" / "gallery.npz"
    np.savez(path, blob=np.zeros((2, 8, 8)), blob_labels=np.zeros((3, 8, 8)))
    assert "blob_labels has shape (3, 8, 8)" in read_inputs(path.parent).absent["gallery"]


@pytest.mark.parametrize(
    ("truth", "probability", "wrong"), [(1, 0.5, False), (1, 0.49, True), (0, 0.5, True), (0, 0.1, False)]
)
def test_a_call_is_made_at_probability_one_half(truth: int, probability: float, wrong: bool) -> None:
    call = Prediction(arm="real", scope="local", patient="p", slice=0, truth=truth, probability=probability)
    assert call.is_mistake == wrong
