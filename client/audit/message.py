"""What the audit log keeps of a message: who asked for what, and which records left with how many bytes."""

from flwr.app import Message, RecordDict

from common.protocol.records import Instruction


def asked_fields(message: Message) -> dict[str, object]:
    """What is known of a message before its content is looked at.

    ``flower_run`` is the number under which the sender runs its study; ``sender`` its node.
    """
    about = message.metadata
    return {
        "message": about.message_id,
        "action": about.message_type,
        "flower_run": about.run_id,
        "sender": about.src_node_id,
    }


def instruction_fields(instruction: Instruction) -> dict[str, object]:
    """What the message asks for, in the names that run reports use."""
    return {
        "run": instruction.run,
        "phase": instruction.phase,
        "round": instruction.server_round,
        "model": instruction.model,
    }


def sent_sizes(content: RecordDict) -> dict[str, int]:
    """The records of a reply and their sizes in bytes; never what is in them."""
    return {name: record.count_bytes() for name, record in content.items()}
