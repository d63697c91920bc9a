import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.conditions import condition_code
from common.errors import ConfigError
from common.export.source import standalone_source
from common.networks.patchgan import PatchGAN
from common.networks.unet import UNet

Write = Callable[[str, str], object]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Makes ``common.toy_<name>`` from source and gives what is called ``root`` in it."""
    import common

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
    imports, definitions = standalone_source(roots)
    assert "common" not in imports
    names: dict[str, object] = {"__name__": "alone"}
    exec(f"{imports}\n\n{definitions}", names)
    return names


def test_what_is_cut_out_runs_alone_and_gives_the_same() -> None:
    names = run(UNet, condition_code)
    assert names["condition_code"]("lung", ["ct"]).equal(condition_code("lung", ["ct"]))
    ours, theirs = UNet(1, 1, width=4, depth=1), names["UNet"](1, 1, width=4, depth=1)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert type(theirs) is not type(ours)


def test_only_what_is_needed_is_taken_with_its_comments() -> None:
    _, definitions = standalone_source([condition_code])
    assert "def condition_maps" not in definitions
    assert "class WeightsError" not in definitions
    assert 'CONTRASTS = ("t1", "t1ce", "t2", "flair", "ct")\n"""What one channel of an image shows.' in definitions


def test_definitions_stand_after_those_they_need(write: Write) -> None:
    write("base", "SIZE, OTHER = 3, 4\n\n\nclass Base:\n    size = SIZE\n")
    root = write(
        "child",
        "import math as m\nfrom common.toy_base import Base\n\n\n# Why.\nclass root(Base):\n"
        "    def area(self):\n        return helper(self)\n\n\n"
        "def helper(one, again=True):\n    return helper(one, False) if again else m.floor(one.size ** 2 + 0.5)\n",
    )
    imports, definitions = standalone_source([root])
    assert imports == "import math as m"
    assert "# Why.\nclass root" in definitions
    assert run(root)["root"]().area() == 9


def test_a_network_that_needs_more_than_torch_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="needs monai, which a receiver may not have"):
        standalone_source([PatchGAN])


def test_two_meanings_of_one_name_are_refused(write: Write) -> None:
    first = write("first", "X = 1\n\n\ndef root():\n    return X\n")
    second = write("second", "X = 2\n\n\ndef other():\n    return X\n\n\nroot = other\n")
    with pytest.raises(
        ConfigError, match=r"X cannot be exported: it means two things, in common\.toy_first and common"
    ):
        standalone_source([first, second])


@pytest.mark.parametrize("line", ["import common.errors as e", "from common.errors import ConfigError as e"])
def test_imports_under_another_name_are_refused(write: Write, line: str) -> None:
    root = write("renamed", f"{line}\n\n\ndef root():\n    return e\n")
    with pytest.raises(ConfigError, match=r"imports common\.errors as e"):
        standalone_source([root])


def test_only_what_stands_at_the_top_of_our_own_files_can_be_cut_out() -> None:
    for root in (Path, lambda: None, UNet.forward):
        with pytest.raises(ConfigError, match="not defined at the top of a file of common"):
            standalone_source([root])
