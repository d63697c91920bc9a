"""Errors a person can act on: each names the site or file, the cause and the way out, and has an exit code."""

from pathlib import Path


class OncofedError(Exception):
    """Base of every error that is meant to be read by a user; ``exit_code`` is what a command returns."""

    exit_code = 1


class ConfigError(OncofedError):
    """An option, a configuration key or a value is wrong. Nothing was started."""

    exit_code = 2


class DataError(OncofedError):
    """A site's data cannot be used at all (missing folder, nothing readable)."""

    exit_code = 3


class StudyError(OncofedError):
    """The study cannot go on (quorum missed, every reply refused); it can be resumed."""

    exit_code = 4


class DiskFullError(StudyError):
    """A file found no room. What was there before it is whole, and the same command goes on from there."""


class DamagedFileError(ConfigError, ValueError):
    """A file that this project wrote is not what it wrote: it was changed, cut short, or is another.

    Args:
        path: of the file.
        what: is wrong with it, e.g. ``"is no JSON"``.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}: it was changed, or is damaged; put it back from a backup")


class WeightsError(ConfigError):
    """A weights file is missing or does not fit the network."""


class RefusalError(OncofedError):
    """A site does not do what it was asked. The text is safe to leave the site: it holds no path, name or count."""


class NotNowError(RefusalError):
    """A site does not do what it was asked now, and would later; whoever asked may ask again."""


class BadStudyError(Exception):
    """One study cannot be used; the site goes on without it.

    Args:
        reason: a short sentence for the quarantine list, e.g. ``"mask is empty"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PrivacyError(OncofedError):
    """A guarantee of privacy that cannot be given, so that nothing is trained. Its text stays at the site."""
