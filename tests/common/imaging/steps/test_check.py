from typing import Any

import pytest

from common.errors import ConfigError
from common.imaging.steps.check import check_preprocessing
from common.study.experiment import PreprocessingConfig


@pytest.mark.parametrize("organ", ["brain", "lung", "liver"])
def test_the_defaults_are_possible_for_every_organ(organ: str) -> None:
    check_preprocessing(PreprocessingConfig(), organ)


@pytest.mark.parametrize(
    ("organ", "changes"),
    [
        ("brain", {"skull_strip": True, "bias_field": True, "crop": "organ", "margin": 0.0}),
        ("lung", {"window": [-1000, 400], "spacing": [2.5, 0, 0], "crop": "each_lung", "stretch": [1, 99]}),
        ("liver", {"window": [-100, 250], "crop": "organ", "median": 1, "equalise": True}),
    ],
)
def test_the_steps_of_each_data_set_are_possible(organ: str, changes: dict[str, Any]) -> None:
    check_preprocessing(PreprocessingConfig(**changes), organ)


@pytest.mark.parametrize(
    ("organ", "key", "value"),
    [
        ("liver", "skull_strip", True),
        ("brain", "spacing", [1.0, 1.0]),
        ("brain", "spacing", [1.0, -1.0, 1.0]),
        ("brain", "spacing", [float("inf"), 1.0, 1.0]),
        ("brain", "crop", "head"),
        ("liver", "crop", "each_lung"),
        ("lung", "margin", -1.0),
        ("lung", "margin", float("nan")),
        ("liver", "median", -1),
        ("liver", "median", 500),
        ("lung", "window", [400.0, -1000.0]),
        ("lung", "window", [1.0]),
        ("lung", "window", [0.0, float("inf")]),
        ("lung", "window", [float("nan"), 1.0]),
        ("lung", "stretch", [99.0, 1.0]),
        ("lung", "stretch", [1.0, 101.0]),
        ("lung", "stretch", [5.0]),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_key(organ: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"organs\.{organ}\.steps\.{key}="):
        check_preprocessing(PreprocessingConfig(**{key: value}), organ)
