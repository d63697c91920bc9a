"""No line of ours can turn bytes of a file or a message into code: looked for in the source, not in what it does."""

import ast
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from common.system.bundle import PACKAGES

FORBIDDEN_MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "jsonpickle",
    "marshal",
    "shelve",
    "pickletools",
    "code",
    "codeop",
    "runpy",
}
FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "__import__": "imports by name",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "torch.jit.load": "runs a stored program",
    "torch.package.PackageImporter": "runs a stored program",
    "torch.hub.load": "runs a downloaded program",
    "yaml.load": "only common/system/safe_yaml.py reads YAML",
    "yaml.load_all": "only common/system/safe_yaml.py reads YAML",
    "yaml.full_load": "only common/system/safe_yaml.py reads YAML",
    "yaml.unsafe_load": "only common/system/safe_yaml.py reads YAML",
    "yaml.safe_load": "only common/system/safe_yaml.py reads YAML",
    "OmegaConf.load": "only common/system/safe_yaml.py reads YAML",
    "shutil.unpack_archive": "writes wherever an archive says",
}
"""By the whole name: ``re.compile``, ``torch.compile`` and ``network.eval()`` are others."""

FORBIDDEN_METHODS = {
    "extractall": "writes wherever an archive says",
    "extract": "writes wherever an archive says",
    "read_pickle": "unpickles",
}

ALLOWED = {
    ("common/system/safe_yaml.py", "yaml.load"): "with the safe loader, after every bound was checked",
    ("common/export/model.py", "runpy"): "the loader that was written by the line before, to see that it loads",
}


def python_files() -> list[tuple[str, Path]]:
    found = []
    for package in PACKAGES:
        root = Path(str(files(package)))
        found += [(f"{package}/{file.relative_to(root).as_posix()}", file) for file in sorted(root.rglob("*.py"))]
    return found


def dotted(node: ast.expr) -> str:
    """``a.b.c`` as text; what is neither a name nor an attribute is ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def findings(name: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {one}" for one in modules if one.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        last = called.rpartition(".")[2]
        given = {one.arg: one.value for one in node.keywords}
        reason = FORBIDDEN_CALLS.get(called) or (FORBIDDEN_METHODS.get(last) if "." in called else None)
        if reason:
            yield f"calls {called}, which {reason}"
        if called in ("torch.load", "load_state_dict_from_url", "torch.hub.load_state_dict_from_url"):
            safe = given.get("weights_only")
            if not (isinstance(safe, ast.Constant) and safe.value is True):
                yield f"calls {called} without weights_only=True"
        if "allow_pickle" in given:
            safe = given["allow_pickle"]
            if not (isinstance(safe, ast.Constant) and safe.value is False):
                yield f"calls {called} with pickles"
        if called in ("np.load", "numpy.load") and (len(node.args) > 1 or None in given):
            yield f"calls {called} with arguments that cannot be told"
        shell = given.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield f"calls {called} with a shell"


def not_allowed(name: str, tree: ast.AST) -> list[str]:
    exceptions = [call for file, call in ALLOWED if file == name]
    return [one for one in findings(name, tree) if not _excepted(one, exceptions)]


def _excepted(found: str, exceptions: list[str]) -> bool:
    return any(found.startswith(f"calls {call},") or found == f"imports {call}" for call in exceptions)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_of_ours_can_execute_what_it_reads(package: str) -> None:
    checked = 0
    for name, file in python_files():
        if name.startswith(f"{package}/"):
            assert not_allowed(name, ast.parse(file.read_text(encoding="utf-8"))) == [], name
            checked += 1
    assert checked > 0


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, None, True)",
        "np.load(path, **options)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.safe_load(text)",
        "archive.extractall(folder)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "torch.hub.load_state_dict_from_url(url)",
        "torch.jit.load(path)",
        "__import__(name)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert not_allowed("client/app.py", ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "network.eval()",
        "copy(network).eval()",
        "re.compile(text)",
        "torch.compile(network)",
        "np.load(path, mmap_mode='r')",
        "torch.load(path, weights_only=True)",
        "json.loads(text)",
    ],
)
def test_the_search_leaves_alone_what_is_harmless(source: str) -> None:
    assert not_allowed("client/app.py", ast.parse(source)) == []
