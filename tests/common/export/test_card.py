import hashlib

import pytest
from pydantic import ValidationError

from common.export.card import NOT_FOR, GeneratorCard, card_text
from common.export.provenance import Privacy, Provenance
from common.figures.figure import Figure
from common.networks.unet import UNet


def text_of(card: GeneratorCard, **changes: object) -> str:
    return card_text(card.model_copy(update=changes), UNet, b"weights")


def test_a_figure_stands_beside_its_number_and_floor(card: GeneratorCard) -> None:
    assert "| Fréchet distance, brain | 12.3 | 96 | real slices of other patients 5.60 |" in text_of(card)
    without = text_of(card, scores={"brain": (Figure(metric="ssim", value=0.5, n=4),)})
    assert "| SSIM, brain | 0.500 | 4 | none |" in without
    assert "None were computed." in text_of(card, scores={})


def test_patients_are_counted_only_where_declared(card: GeneratorCard) -> None:
    assert "| Patients at these sites | not declared |" in text_of(card)
    assert "| Patients at these sites | 42 |" in text_of(card, patients=42)


def test_the_privacy_is_stated_either_way(card: GeneratorCard, provenance: Provenance) -> None:
    assert "No privacy guarantee was given" in text_of(card)
    private = provenance.model_copy(update={"privacy": Privacy(epsilon=3.5, delta=1e-6)})
    assert "Trained with (3.5, 1e-06)-differential privacy for each patient." in text_of(card, provenance=private)


def test_what_everybody_must_know_is_on_every_card(card: GeneratorCard) -> None:
    text = text_of(card, limits=("Few scanners.",))
    for line in (*NOT_FOR, "Few scanners."):
        assert f"- {line}\n" in text
    for part in (
        "demo, round 3 of 5",
        "CC-BY-4.0",
        "Apache-2.0",
        "| Brain | flair |",
        "| Sites | 3 |",
        "load_generator()",
    ):
        assert part in text
    assert hashlib.sha256(b"weights").hexdigest() in text


def test_text_cannot_break_the_page(card: GeneratorCard) -> None:
    text = text_of(card, task="a\n# b", scores={"x | y\nz": (Figure(metric="ssim", value=1, n=1),)})
    assert "\na # b\n" in text
    assert "| SSIM, x \\| y z | 1.000 | 1 | none |" in text


@pytest.mark.parametrize("changes", [{"run": "/home/x"}, {"run": "a\nb"}, {"model": ""}, {"round": -1}])
def test_a_path_or_nonsense_is_no_name(provenance: Provenance, changes: dict) -> None:
    with pytest.raises(ValidationError):
        Provenance(**{**provenance.model_dump(), **changes})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_is_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        Figure(metric="psnr", value=value, n=1)
