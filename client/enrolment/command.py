"""``oncofed-client init``: from a start-up kit to a node's folder."""

from datetime import timedelta
from pathlib import Path

from client.enrolment.attempt import Attempt
from client.enrolment.clock import describe_clock, refused_for
from client.enrolment.connection import Connection, load_connection
from client.enrolment.kit import Kit, open_kit
from client.enrolment.node_folder import NodeFolder
from client.enrolment.request import request_enrolment
from client.enrolment.site_template import usual_reader
from client.site import load_site
from common.errors import ConfigError
from common.protocol.node_keys import fingerprint
from common.system.outside import say


def init(kit_file: Path, folder: Path | None = None, sha256: str | None = None, *, new_key: bool = False) -> None:
    """Joins a federation and says what was done.

    Args:
        kit_file: the start-up kit.
        folder: the node's folder; the site's name by default.
        sha256: what the kit's hash must be.
        new_key: the site has joined before, and its earlier key is put aside.

    Raises:
        ConfigError: naming the cause and the way out. What was in use in the folder is as it was, and the folder can be
            used again with the same kit or a newer one.
    """
    kit = open_kit(kit_file, sha256)
    node = NodeFolder(folder or Path(kit.description.site))
    try:
        clock, fresh = _joined(kit, node, new_key)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or node.path}: cannot be written ({error.strerror}); choose another --folder, or let "
            "this user write there, and give the same command again"
        ) from error
    _tell(kit, node, load_connection(node.path), fresh)
    say(f"The kit is used up; delete {kit_file}.")
    if clock is not None and refused_for(clock):
        say(
            f"This machine's clock is {describe_clock(clock)} the coordinator's; set it (NTP) before the node "
            "starts, or it will be refused."
        )


def _joined(kit: Kit, node: NodeFolder, new_key: bool) -> tuple[timedelta | None, bool]:
    """How far this machine's clock is ahead, and whether ``site.yaml`` is new."""
    # Another site's folder is not even locked.
    node.require_own_settings(kit)
    with node.held():
        attempt, fresh = Attempt(node.path), not node.site.exists()
        interrupted = attempt.decided()
        if interrupted is not None:
            connection, by = interrupted
            attempt.take_over(connection)
            if by == kit.sha256:
                return None, fresh
        node.require_free(kit, new_key=new_key)
        attempt.begin(kit.description)
        if fresh:
            load_site(attempt.site)
        line = attempt.open_key(kit.description.site)
        answer = request_enrolment(kit, line)
        connection = Connection(
            federation=answer.reply.federation,
            site=kit.description.site,
            address=answer.reply.address,
            questions=kit.description.questions,
            # The coordinator's clock says when it was enrolled: this machine's may be off.
            enrolled=answer.at,
        )
        attempt.decide(connection, kit, answer.reply.certificate)
        attempt.take_over(connection)
    return answer.clock, fresh


def _tell(kit: Kit, node: NodeFolder, connection: Connection, fresh: bool) -> None:
    line = connection.key.with_suffix(".pub").read_text()
    say(
        f"{connection.site} has joined {connection.federation} at {connection.address}",
        f"key       {fingerprint(line)}",
        "          compare it with the coordinator's list, on the telephone for instance",
        f"folder    {node.path}",
        f"settings  {node.site}{' (new: say where the images are)' if fresh else ' (left as it was)'}",
    )
    if fresh:
        organ, reader = kit.description.organ, kit.description.reader
        chosen = f"organ {organ} and reader {reader}" if reader else f"organ {organ}"
        usual = "" if reader else f" (its usual reader is {usual_reader(organ, None)})"
        say(f"          the coordinator proposes {chosen}{usual}: check both")
    say(f"next      oncofed-client doctor {node.site}")
