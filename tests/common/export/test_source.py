import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import common
from common.errors import ConfigError
from common.export.source import standalone_source
from common.networks.patchgan import PatchGAN
from common.networks.unet import UNet
from common.study.conditions import condition_code

Write = Callable[[str, str], object]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Makes ``common.toy_<name>`` from source and gives what is called ``root`` in it."""
    common.__path__.append(str(tmp_path))

    def make(name: str, source: str) -> object:
        (tmp_path / f"toy_{name}.py").write_text(source)
        importlib.invalidate_caches()
        return getattr(importlib.import_module(f"common.toy_{name}"), "root", None)

    yield make
    common.__path__.remove(str(tmp_path))
    for module in [one for one in sys.modules if one.startswith("common.toy_")]:
        del sys.modules[module]


def run(*roots: Callable[..., object]) -> dict[str, object]:
    source = standalone_source(roots)
    assert "from common" not in source
    names: dict[str, object] = {"__name__": "alone"}
    exec(source, names)
    return names


def test_what_is_copied_runs_alone_and_gives_the_same() -> None:
    names = run(UNet, condition_code)
    assert names["condition_code"]("lung", ["ct"]).equal(condition_code("lung", ["ct"]))
    ours, theirs = UNet(1, 1, width=4, depth=1), names["UNet"](1, 1, width=4, depth=1)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert type(theirs) is not type(ours)


def test_modules_are_copied_word_for_word_but_for_imports_of_one_another() -> None:
    source = standalone_source([UNet])
    for module in ("unet", "upsampling"):
        text = (Path(common.__file__).parent / "networks" / f"{module}.py").read_text()
        kept = [line for line in text.splitlines() if not line.startswith("from common.")]
        assert "\n".join(kept) in source


def test_modules_stand_after_those_they_import_from_and_once_each(write: Write) -> None:
    write("base", "SIZE = 3\n")
    write("other", "from common.toy_base import SIZE\n\nAREA = SIZE**2\n")
    root = write(
        "child",
        "import math as m\nfrom common.toy_base import (\n    SIZE,\n)\nfrom common.toy_other import AREA\n\n\n"
        "# Why.\nclass root:\n    def area(self):\n        return m.floor(AREA + SIZE)\n",
    )
    source = standalone_source([root])
    assert source.count("SIZE = 3") == 1
    assert source.index("SIZE = 3") < source.index("AREA =") < source.index("# Why.\nclass root")
    assert run(root)["root"]().area() == 12


def test_a_network_that_needs_more_than_torch_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="needs monai, which a receiver may not have"):
        standalone_source([PatchGAN])


def test_two_meanings_of_one_name_are_refused(write: Write) -> None:
    first = write("first", "X = 1\n\n\ndef root():\n    return X\n")
    second = write("second", "X = 2\n\n\ndef other():\n    return X\n\n\nroot = other\n")
    with pytest.raises(
        ConfigError, match=r"X cannot be exported: it means two things, in common\.toy_first and common\.toy_second"
    ):
        standalone_source([first, second])


@pytest.mark.parametrize(
    "lines",
    [
        "import common.errors as e\n\n\ndef root():\n    return e\n",
        "from common.errors import ConfigError as e\n\n\ndef root():\n    return e\n",
        "def root():\n    from common.errors import ConfigError\n\n    return ConfigError\n",
    ],
)
def test_imports_that_cannot_be_left_out_are_refused(write: Write, lines: str) -> None:
    root = write("renamed", lines)
    with pytest.raises(ConfigError, match=r"toy_renamed cannot be exported: write `from common\.errors import"):
        standalone_source([root])


def test_only_what_stands_at_the_top_of_our_own_files_can_be_exported() -> None:
    for root in (Path, lambda: None, UNet.forward):
        with pytest.raises(ConfigError, match="not defined at the top of a file of common"):
            standalone_source([root])
