"""A node's random number: in a ledger that a hospital's nodes share, it says whose charge a line is."""

import re
import uuid
from contextlib import suppress
from pathlib import Path

from client.privacy.ledger_files import LedgerError
from common.system.private_files import make_private_folder, write_private

NODE_ID = "node-id"
"""The file in the node's own folder."""

_FORM = re.compile(r"[0-9a-f]{32}")


def node_id(folder: Path) -> str:
    """The number of the node whose own folder this is; made when it is first asked for, and kept there.

    A node that joins another coordinator gets a new one: what a coordinator is told counts this number's charges only.

    Raises:
        LedgerError: if it cannot be read or written, or is none.
    """
    file = folder / NODE_ID
    try:
        if not file.exists():
            make_private_folder(folder)
            # Another process may have been quicker; then its number is the node's.
            with suppress(FileExistsError):
                write_private(file, (uuid.uuid4().hex + "\n").encode())
        text = file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise LedgerError(
            f"{error.filename or file}: the node's number in the privacy ledger cannot be read or written "
            f"({error.strerror or error}); let this user write there"
        ) from error
    if not _FORM.fullmatch(text):
        raise LedgerError(
            f"{file}: is not the number of a node (32 hexadecimal digits); put it back from a backup, or remove it: "
            "the node then gets a new one, and what it charged stays in the ledger"
        )
    return text
