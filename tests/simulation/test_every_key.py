"""Every key of the schema with every kind of bad value: it runs, or it is refused by its whole key. No list by hand."""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import pytest

from common.errors import ConfigError, DataError
from common.study.allowed import ALLOWED, require_allowed
from common.study.config import NAMED, compose
from common.study.experiment import Experiment, FederationConfig
from common.study.sections import fitted
from common.training.families import trainer_module
from simulation.run import checked

MODELS = ("cgan", "wgan_gp", "cyclegan", "translation")
HELD = "contrasts=[flair,t1,t2]"
STUDY = ["preset=pilot", "organ=[brain]", "site=brain_pair", "+partition.shared={sites: 2}"]
STUDY += [f"site.{name}.{HELD}" for name in ("hospital1", "hospital2")]
"""Every section has an entry; the one of models follows."""

TEXTS = ("", "no_such", "Ü € #", "../x", "-", "a" * 300)
NUMBERS = (0, -1, 1e-300, 1e300, 10**30, 10**400, 1.5, float("nan"), float("inf"), float("-inf"))


@dataclass(frozen=True)
class Leaf:
    """One key, the section that holds it, and what its values are."""

    key: str
    section: type
    name: str
    hint: Any


def leaves(section: type, prefix: str, value: Any) -> Iterator[Leaf]:
    """Every key below a dataclass of which ``value`` is one; of mappings those of their entries."""
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        below, key = getattr(value, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(below):
            yield from leaves(type(below), f"{key}.", below)
        elif field.name in NAMED and isinstance(below, dict):
            # All entries of a section are of one type.
            for name, entry in list(below.items())[:1]:
                if dataclasses.is_dataclass(entry):
                    yield from leaves(type(entry), f"{key}.{name}.", entry)
        else:
            yield Leaf(key, section, field.name, hints[field.name])


@cache
def all_leaves() -> dict[str, Leaf]:
    found = [*leaves(Experiment, "", compose(STUDY))]
    for name in MODELS:
        module = trainer_module(name)
        found += leaves(module.Config, f"models.{name}.", module.Config())
        found += leaves(FederationConfig, f"models.{name}.federation.", FederationConfig())
        found.append(Leaf(f"models.{name}.runs", Experiment, "models", int))
    return {leaf.key: leaf for leaf in found if leaf.key != "name"}


def bad_values(hint: Any) -> Iterator[Any]:
    """Values of wrong types, at the ends of what numbers can be, empty, doubled, and oddly named."""
    yield from (None, [], {}, ["no_such"], {"a": {"b": 1}}, True)
    yield from TEXTS
    yield from NUMBERS if hint not in (str, str | None) else NUMBERS[:1]
    kind = next((one for one in typing.get_args(hint) if one is not type(None)), hint) if "None" in str(hint) else hint
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        ends = NUMBERS if item in (int, float) else TEXTS
        yield from ([one] for one in ends)
        yield from ([one, one] for one in (*ends, "brain"))


def refusal(leaf: Leaf, value: Any) -> str:
    """What its own section says to a value; empty if it lets it pass."""
    prefix = leaf.key.removesuffix(leaf.name)
    try:
        require_allowed(fitted({leaf.name: value}, leaf.section, prefix), prefix)
    except ConfigError as error:
        return str(error)
    return ""


def test_every_number_of_the_schema_says_what_it_may_be() -> None:
    silent = [
        leaf.key
        for leaf in all_leaves().values()
        if leaf.hint in (int, float, int | None, float | None, list[int], list[float])
        and not leaf.key.endswith((".runs", "study.folds", "client_cpus"))
        and ALLOWED not in {f.name: f for f in dataclasses.fields(leaf.section)}[leaf.name].metadata
    ]
    # These two are looked at beside the organ or the number of patients, in common/imaging/steps and config_checks.
    assert {key.rpartition(".")[2] for key in silent} <= {"spacing", "margin", "median", "window", "stretch"}


@pytest.mark.parametrize("key", all_leaves())
def test_a_bad_value_is_taken_or_refused_by_its_whole_key(key: str) -> None:
    leaf, refusals = all_leaves()[key], 0
    if leaf.section is Experiment:
        return  # Those of no section are composed whole, below.
    for value in bad_values(leaf.hint):
        if told := refusal(leaf, value):
            refusals += 1
            assert told.startswith((f"{key}=", f"{key}[", f"{key}.")), f"{value!r}: {told}"
    assert refusals > 2, "nothing is refused"


def written(value: Any) -> str:
    """A value in the grammar of a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {written(one)}" for key, one in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def accepted(leaf: Leaf) -> Iterator[Any]:
    """The bad values that a key's own section lets pass."""
    passed = (value for value in bad_values(leaf.hint) if leaf.section is Experiment or not refusal(leaf, value))
    # Of a text that may be anything, as a path, some are enough.
    return islice(passed, 8 if leaf.hint in (str, str | None) else None)


def whole_refusal(overrides: list[str]) -> str:
    """What the whole check says to a study; empty if it builds."""
    try:
        checked(overrides)
    except (ConfigError, DataError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("model", MODELS)
def test_what_a_section_lets_pass_is_built_whole_or_refused_by_its_key(
    model: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keys at once, each with the next of its values; a key that is refused is left out of the next try."""
    monkeypatch.chdir(tmp_path)
    # The other models' keys are tried with them, and what is of no model with the first.
    others = [key for key in all_leaves() if not key.startswith("models.")]
    keys = [key for key in all_leaves() if key.startswith(f"models.{model}.")]
    study = [*STUDY, "model=[wgan_gp,cyclegan]" if model == "cyclegan" else f"model=[{model}]"]
    values = {key: list(accepted(all_leaves()[key])) for key in (*keys, *(others if model == MODELS[0] else ()))}
    for turn in range(max(map(len, values.values()))):
        given = {key: f"{key}={written(own[turn])}" for key, own in values.items() if turn < len(own)}
        while given and (told := whole_refusal([*study, *given.values()])):
            # Of two that do not go together both are named, or the section that they are in.
            named = [key for key in given if key in told] or [
                key for key in given if told.startswith(key.split(".")[0])
            ]
            assert named, f"{given}: {told}"
            for key in named:
                del given[key]
