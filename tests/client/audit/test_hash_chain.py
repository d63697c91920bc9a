"""A chain of lines: any change names its line, and half a write leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client.audit import hash_chain
from client.audit.hash_chain import Chain, ChainError, Link, append_line, link_after, parse_chain

ROOT = Path(hash_chain.__file__).parents[2]


def chain_of(number: int) -> Chain:
    chain = Chain()
    for value in range(number):
        chain.add({"value": value, "text": "ä"})
    return chain


def test_what_was_added_is_read_back_and_goes_on() -> None:
    chain = chain_of(4)
    again, torn = parse_chain(b"".join(chain.raw))
    assert (again.entries, again.hashes, torn) == (chain.entries, chain.hashes, False)
    assert again.end == chain.end == link_after(chain.raw[-1])
    assert parse_chain(b"")[0].count == 0
    assert parse_chain(b"".join(chain.raw) + b'{"ent')[1]


@pytest.mark.parametrize("line", range(3))
def test_a_changed_line_is_named(line: int) -> None:
    raw = list(chain_of(4).raw)
    raw[line] = raw[line].replace(f'"value": {line}'.encode(), b'"value": 9')
    with pytest.raises(ChainError) as error:
        parse_chain(b"".join(raw))
    # The line itself still reads well: the one after it states another hash. The newest has none after it.
    assert error.value.line == line + 1
    assert str(error.value) == f"line {line + 1} was changed"


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (lambda raw: raw[1:], 1),
        (lambda raw: [raw[0], raw[2], raw[1], raw[3]], 2),
        (lambda raw: [*raw, raw[-1]], 5),
        (lambda raw: [raw[0].replace(b": ", b":"), *raw[1:]], 1),
        (lambda raw: [raw[0], b"[]\n", *raw[2:]], 2),
        (lambda raw: [b"[" * 100_000 + b"\n"], 1),
        (lambda raw: [Link().line({}).replace(b"{}", b"7")], 1),
    ],
)
def test_lines_that_do_not_follow_each_other_are_refused(how: Any, named: int) -> None:
    with pytest.raises(ChainError) as error:
        parse_chain(b"".join(how(chain_of(4).raw)))
    assert error.value.line == named
    assert f"line {named} " in str(error.value)


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"null\n", b'{"sequence": 1}\n', b"\xff\n", chain_of(1).raw[0] + b" "]
)
def test_the_newest_line_must_be_one_of_a_chain(line: bytes) -> None:
    with pytest.raises(ValueError, match="no line of a chain"):
        link_after(line)


def test_half_a_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"before\n")
    real = os.write
    monkeypatch.setattr(hash_chain.os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    with pytest.raises(OSError, match="only part"):
        append_line(file, b"after\n")
    assert file.read_bytes() == b"before\n"
    monkeypatch.undo()
    append_line(file, b"after\n", flush=False)
    assert file.read_bytes() == b"before\nafter\n"


def test_it_needs_nothing_but_the_standard_library() -> None:
    heavy = "[m for m in ('torch', 'numpy', 'flwr') if m in sys.modules]"
    code = f"import sys, client.audit.hash_chain; print(json.dumps({heavy}))"
    made = subprocess.run([sys.executable, "-c", f"import json; {code}"], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(made.stdout) == []
