"""The source of a network, cut out of this project so that it runs without it.

Of each module only the definitions that are needed are taken, in an order in which they can be executed, with their
comments and docstrings. What they import must be torch or Python's own library; everything else is refused, since
whoever gets the file may have nothing more.
"""

import ast
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from common.errors import ConfigError

_OWN = "common"
_ALLOWED = frozenset({"torch"}) | frozenset(sys.stdlib_module_names)


def standalone_source(roots: Sequence[Callable[..., object]]) -> tuple[str, str]:
    """What must be written into a file for ``roots`` to work in it.

    Args:
        roots: classes and functions of ``common``, defined at the top of their modules.

    Returns:
        The import statements, and the definitions.

    Raises:
        ConfigError: naming what cannot be cut out: another package, two meanings of one name, or a way of importing
            that is not understood.
    """
    cut = _Cut()
    for root in roots:
        name, module = root.__qualname__, root.__module__
        if module.split(".")[0] != _OWN or name not in _read(module).definitions:
            raise ConfigError(f"{module}.{name} cannot be exported: it is not defined at the top of a file of {_OWN}")
        cut.take(module, name)
    return _written_imports(cut.imported), "\n\n\n".join(cut.parts)


@dataclass(frozen=True)
class _Definition:
    """One statement at the top of a module: the names that it binds, those that it mentions, and its source."""

    names: tuple[str, ...]
    mentions: tuple[str, ...]
    text: str
    line: int


@dataclass(frozen=True)
class _Import:
    """``from module import name as bound``; ``import module as bound`` where ``name`` is empty."""

    module: str
    name: str
    bound: str


@dataclass(frozen=True)
class _Module:
    definitions: dict[str, _Definition]
    imports: dict[str, _Import]


@dataclass
class _Cut:
    """What was taken so far, each definition after those that it mentions."""

    parts: list[str] = field(default_factory=list)
    imported: list[_Import] = field(default_factory=list)
    _meanings: dict[str, str] = field(default_factory=dict)
    _taken: set[tuple[str, int]] = field(default_factory=set)

    def take(self, module: str, name: str) -> None:
        """``name`` as ``module`` knows it, and all that it needs; a name of Python itself or a local one is passed."""
        known = _read(module)
        if name in known.definitions:
            self._take_definition(module, known.definitions[name])
        elif name in known.imports:
            self._take_import(module, known.imports[name])

    def _take_definition(self, module: str, definition: _Definition) -> None:
        if (module, definition.line) in self._taken:
            return
        self._taken.add((module, definition.line))
        for name in definition.names:
            self._claim(name, module)
        for name in definition.mentions:
            self.take(module, name)
        self.parts.append(definition.text)

    def _take_import(self, module: str, one: _Import) -> None:
        package = one.module.split(".")[0]
        if package == _OWN:
            if one.bound != one.name:
                raise ConfigError(f"{module} cannot be exported: it imports {one.module} as {one.bound}")
            self.take(one.module, one.name)
        elif package not in _ALLOWED:
            raise ConfigError(f"{module} cannot be exported: it needs {package}, which a receiver may not have")
        else:
            self._claim(one.bound, f"{one.module} {one.name}")
            if one not in self.imported:
                self.imported.append(one)

    def _claim(self, name: str, meaning: str) -> None:
        if self._meanings.setdefault(name, meaning) != meaning:
            raise ConfigError(
                f"{name} cannot be exported: it means two things, in {self._meanings[name]} and {meaning}"
            )


@cache
def _read(module: str) -> _Module:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"{module} cannot be exported: its source is not there")
    text = Path(spec.origin).read_text(encoding="utf-8")
    lines = text.splitlines()
    definitions: dict[str, _Definition] = {}
    imports: dict[str, _Import] = {}
    body = ast.parse(text).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        for one in _imports_of(node):
            imports[one.bound] = one
        names = _names_bound_by(node)
        if names:
            documented = isinstance(node, ast.Assign | ast.AnnAssign) and _is_text(after)
            mentions = dict.fromkeys(one.id for one in ast.walk(node) if isinstance(one, ast.Name))
            source = _text_of(lines, node, after if documented and after is not None else node)
            definition = _Definition(names, tuple(mentions), source, node.lineno)
            definitions |= dict.fromkeys(names, definition)
    return _Module(definitions, imports)


def _imports_of(node: ast.stmt) -> Iterator[_Import]:
    if isinstance(node, ast.Import):
        for one in node.names:
            yield _Import(one.name, "", one.asname or one.name.split(".")[0])
    elif isinstance(node, ast.ImportFrom):
        for one in node.names:
            yield _Import("." * node.level + (node.module or ""), one.name, one.asname or one.name)


def _names_bound_by(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return (node.name,)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return tuple(one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def _is_text(node: ast.stmt | None) -> bool:
    """True for the sentence below a constant that says what it is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _text_of(lines: list[str], first: ast.stmt, last: ast.stmt) -> str:
    """The lines of a definition with its decorators and the comments right above it."""
    decorators = first.decorator_list if isinstance(first, ast.ClassDef | ast.FunctionDef) else []
    start = min([first.lineno, *(one.lineno for one in decorators)]) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(lines[start : last.end_lineno])


def _written_imports(imported: Sequence[_Import]) -> str:
    whole, parts = set(), defaultdict(set)
    for one in imported:
        if one.name:
            parts[one.module].add(one.name + (f" as {one.bound}" if one.bound != one.name else ""))
        else:
            alias = f" as {one.bound}" if one.bound != one.module.split(".")[0] else ""
            whole.add(f"import {one.module}{alias}")
    return "\n".join(
        [*sorted(whole), *(f"from {module} import {', '.join(sorted(parts[module]))}" for module in sorted(parts))]
    )
