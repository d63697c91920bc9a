"""A learning curve says how many patients there were where a point asks for more."""

from typing import Any

import pytest

from common.results.study import Results
from server.report.curves import learning_curves


def study(sites: dict[str, Any], *, values: tuple[str, ...] = ("3", "1000")) -> Results:
    figures = {"accuracy": {"mean": 0.8, "deviation": None, "n": 1}}
    repeated = [
        {"kind": "patients", "value": value, "scope": "federated", "arm": "real", "figures": figures}
        for value in values
    ]
    told = {"organ": "brain", "modality": "MR"}
    config = {"study": {"most_patients": 0}, "split": {"train": 4.0, "validation": 0.0, "test": 6.0}}
    info = {"name": "a", "seed": 1, "engine": "in_process", "started": "now", "config": config}
    return Results.model_validate(
        {"run": info, "repeated": repeated, "sites": {name: {**told, **one} for name, one in sites.items()}}
    )


TRAINS, EVALUATES = {"roles": ["train", "evaluate"]}, {"roles": ["evaluate"]}


@pytest.mark.parametrize(
    ("sites", "values", "note"),
    [
        (
            {"a": {**TRAINS, "patients": 10}, "b": {**TRAINS, "patients": 5}, "c": {**EVALUATES, "patients": 2}},
            ("3", "1000"),
            "No site trains on more patients than it has, whatever a point asks for: a has 4 and b has 2 to train on.",
        ),
        ({"a": {**TRAINS, "patients": 10}}, ("3", "4"), ""),
        ({"a": {**TRAINS, "patients": 10}, "b": TRAINS}, ("3",), "Of b it is not declared how many there are."),
    ],
)
def test_a_point_beyond_the_patients_of_a_site_is_told(
    sites: dict[str, Any], values: tuple[str, ...], note: str
) -> None:
    curves = learning_curves(study(sites, values=values))
    assert curves is not None
    assert curves.note == note
    assert "patients a site, at most" in curves.table.columns
