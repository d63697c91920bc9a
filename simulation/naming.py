"""Errors about data that name the site whose they are."""

from collections.abc import Callable
from typing import TypeVar

from client.data.begun import ChangedPatientsError
from common.errors import DataError

Result = TypeVar("Result")


def naming(site: str, action: Callable[[], Result]) -> Result:
    """Runs ``action``; an error about data names the site."""
    try:
        return action()
    except ChangedPatientsError as error:
        raise DataError(f"{site}: {error} ({', '.join(error.names)})") from error
    except DataError as error:
        raise DataError(f"{site}: {error}") from error
