"""YAML from anyone: plain values, or a refusal before anything grows."""

import pytest
import yaml

from common.safe_yaml import DEEPEST, MOST_VALUES, UnsafeYamlError, read_yaml


def test_plain_yaml_is_what_the_safe_loader_makes_of_it() -> None:
    text = "a: 1\nb: [x, 2.5, null, true]\nc: {d: 2026-03-01}\ne: &e [1]\nf: *e\n"
    assert read_yaml(text) == yaml.safe_load(text)
    assert read_yaml("") is None


def test_a_value_that_stands_in_several_places_is_read() -> None:
    shared = {"organ": "lung", "list": [1, 2]}
    text = yaml.safe_dump([shared, shared])
    assert "*" in text
    assert read_yaml(text) == [shared, shared]


def test_nesting_is_read_up_to_the_bound() -> None:
    levels = DEEPEST - 1
    value = read_yaml("[" * (levels - 1) + "x" + "]" * (levels - 1))
    for _ in range(levels - 1):
        (value,) = value
    assert value == "x"
    with pytest.raises(UnsafeYamlError, match="nested"):
        read_yaml("[" * DEEPEST + "x" + "]" * DEEPEST)


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "more than"),
        ("".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else 'x'}]\n" for n in range(DEEPEST)), "nested"),
        ("[" + "x," * MOST_VALUES + "]", "more than"),
        ("&a [*a]", "an alias"),
        ("&a {b: {c: *a}}", "an alias"),
        ("[*nobody]", "an alias"),
        ("x" * 10_001, "a value longer"),
        ("9" * 9_999, "a date or a number"),
        ("2026-99-99", "a date or a number"),
        ("[" * 300_000, "nested"),
        ("- " * 300_000, "nested"),
        ("? " * 300_000, "nested"),
        ("x: y\n" * 500_000, "longer than"),
    ],
)
def test_what_a_reader_would_choke_on_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnsafeYamlError, match=reason):
        read_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [true]",
        "!!python/name:os.system",
        "!own x",
        "a: [1",
        "\x00",
        "<<: 3",
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)
