"""The source of a network as one file that runs without this project.

Whole modules, word for word, each after those that it imports from; only the statements by which they import one
another are left out. Such a module needs torch and Python's own library at most: whoever gets the file may have nothing
more.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Sequence

from common.errors import ConfigError

_OWN = "common"
_ALLOWED = frozenset({"torch"}) | frozenset(sys.stdlib_module_names)


def standalone_source(roots: Sequence[Callable[..., object]]) -> str:
    """What must be written into a file for ``roots`` to work in it.

    Args:
        roots: classes and functions of ``common``, defined at the top of their modules.

    Raises:
        ConfigError: naming what cannot stand alone: a module that needs another package, or imports another of ours in
            a way that leaving it out would change, or two meanings of one name.
    """
    texts: dict[str, str] = {}
    for root in roots:
        module, name = root.__module__, root.__qualname__
        if module.split(".")[0] != _OWN or getattr(sys.modules[module], name, None) is not root:
            raise ConfigError(f"{module}.{name} cannot be exported: it is not defined at the top of a file of {_OWN}")
        _take(module, texts)
    _require_one_meaning(list(texts))
    return "\n\n".join(f"# {module.replace('.', '/')}.py\n\n{text}" for module, text in texts.items())


def _take(module: str, texts: dict[str, str]) -> None:
    """Adds a module's text, after those of the modules that it imports from."""
    if module in texts:
        return
    source = inspect.getsource(sys.modules[module])
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        for name in named:
            package = name.split(".")[0]
            if package not in {_OWN, *_ALLOWED}:
                raise ConfigError(f"{module} cannot be exported: it needs {package}, which a receiver may not have")
            if package == _OWN:
                if isinstance(node, ast.Import) or node.col_offset or any(one.asname for one in node.names):
                    raise ConfigError(f"{module} cannot be exported: write `from {name} import …` at its top, no alias")
                _take(name, texts)
                lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    texts[module] = "".join(lines)


def _require_one_meaning(modules: Sequence[str]) -> None:
    seen: dict[str, tuple[object, str]] = {}
    for module in modules:
        for name, value in vars(sys.modules[module]).items():
            first, where = seen.setdefault(name, (value, module))
            if first is not value and not name.startswith("__"):
                raise ConfigError(f"{name} cannot be exported: it means two things, in {where} and {module}")
