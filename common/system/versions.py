"""Versions of what a result depends on, for reports and model cards."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("oncofed", "flwr", "torch", "torchvision", "monai", "opacus", "torchmetrics", "numpy", "scikit-learn")


def installed_versions() -> dict[str, str]:
    """Package name to version, Python included.

    >>> "torch" in installed_versions()
    True
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
