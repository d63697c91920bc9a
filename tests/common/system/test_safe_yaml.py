"""YAML from anyone: plain values, or a refusal before anything grows."""

import pytest
import yaml

from common.system.safe_yaml import DEEPEST, MOST_VALUES, RepeatedKeyError, UnsafeYamlError, read_yaml, yaml_problem


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("min_cell: 5\nname: a\nmin_cell: 1\n", "line 3: the key min_cell stands twice (first on line 1)"),
        ("a: 1\n'a': 2\n", "line 2: the key a stands twice (first on line 1)"),
        ("1: a\n0x1: b\n", "line 2: the key 0x1 stands twice (first on line 1)"),
        ("a:\n  - {b: {c: 1,\n   c: 2}}\n", "line 3: the key c stands twice (first on line 2)"),
        ("- &one {x: 1}\n- {y: *one, 'y': 2}\n", "line 2: the key y stands twice (first on line 2)"),
        ("? [x: 1, x: 2]\n: a\n- b", "line"),
        ("<<: {a: 1}\n<<: {a: 2}\n", "line 2: the key << stands twice (first on line 1)"),
        ('"a\\e[2J": 1\n"a\\e[2J": 2\n', "line 2: the key a [2J stands twice (first on line 1)"),
    ],
)
def test_of_a_key_that_stands_twice_none_is_taken(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError) as raised:
        read_yaml(text)
    assert yaml_problem(raised.value).startswith(told)


def test_a_refused_key_is_unsafe_like_the_rest() -> None:
    with pytest.raises(UnsafeYamlError):
        read_yaml("{a: 1, a: 1}")
    assert issubclass(RepeatedKeyError, UnsafeYamlError)


def test_what_a_merge_brings_may_be_said_otherwise() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m\n  <<: *b\n  x: 3\nlast: {<<: *m, y: 4}\n"
    assert read_yaml(text) == yaml.safe_load(text)
