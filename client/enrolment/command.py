"""``oncofed-client init``: from a start-up kit to a node's folder."""

from datetime import UTC, datetime
from pathlib import Path

from client.enrolment.clock import describe_clock, refused_for
from client.enrolment.connection import Connection, save_connection
from client.enrolment.kit import open_kit
from client.enrolment.node_folder import NodeFolder
from client.enrolment.request import EnrolmentRefusedError, request_enrolment
from common.errors import ConfigError
from common.file_lock import is_held
from common.node_keys import fingerprint
from common.outside import say


def init(kit_file: Path, folder: Path | None = None, sha256: str | None = None, *, new_key: bool = False) -> None:
    """Joins a federation and says what was done.

    Args:
        kit_file: the start-up kit.
        folder: the node's folder; the site's name by default.
        sha256: what the kit's hash must be.
        new_key: the site has joined before, and its earlier key is put aside.

    Raises:
        ConfigError: naming the cause and the way out. The folder can be used again with the same kit or a newer one.
    """
    kit = open_kit(kit_file, sha256)
    site = kit.description.site
    node = NodeFolder(folder or Path(site))
    retired = None
    if new_key:
        if is_held(node.path / "start.lock"):
            raise ConfigError(f"{node.path}: its node runs; stop it first")
        retired = node.retire_key(datetime.now(UTC))
    node.check_free(kit)
    try:
        fresh = node.write_settings(kit)
        line = node.open_key(site)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or node.path}: cannot be written ({error.strerror}); choose another --folder, or let "
            "this user write there"
        ) from error
    try:
        answer = request_enrolment(kit, line)
    except EnrolmentRefusedError:
        # Only where the coordinator has said so: an answer that was lost on the way may have been a yes.
        if retired is not None:
            node.restore_key(retired)
        raise
    node.write_identity(answer.reply.certificate)
    # The coordinator's clock says when it was enrolled: this machine's may be off.
    save_connection(
        Connection(
            federation=answer.reply.federation,
            site=site,
            address=answer.reply.address,
            enrolled=answer.at,
        ),
        node.path,
    )
    say(f"{site} has joined {answer.reply.federation} at {answer.reply.address}")
    say(
        f"key       {fingerprint(line)}\n          compare it with the coordinator's list, on the telephone for "
        "instance"
    )
    say(f"folder    {node.path}")
    say(f"settings  {node.site}{' (new: say where the images are)' if fresh else ' (left as it was)'}")
    say(f"next      oncofed-client doctor {node.site}")
    say(f"The kit is used up; delete {kit_file}.")
    if answer.clock is not None and refused_for(answer.clock):
        say(
            f"This machine's clock is {describe_clock(answer.clock)} the coordinator's; set it (NTP) before the node "
            "starts, or it will be refused."
        )
