"""A hospital that has joined, as its node runs the ClientApp, and a coordinator that signs its questions."""

from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from hospital import STUDY, Hospital
from joining import joined

from client.app import app
from common.protocol.records import CONFIG, Instruction, instruction_record
from server.provision.question_key import read_question_key
from server.signing import SigningGrid
from simulation.grid import FIRST_NODE, InProcessGrid


class SignedHospital(Hospital):
    """Its ``grid`` carries messages as they are, ``coordinator`` signs them first."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.key = read_question_key(joined(self.file.parent, "hospital1"))
        self.grid = InProcessGrid(app, [self.file])
        self.coordinator = SigningGrid(self.grid, self.key)

    def question(self, action: str = "query.hello", content: RecordDict | None = None, **instruction: Any) -> Message:
        given = {"run": "demo", "phase": "hello", "experiment": STUDY, **instruction}
        made = content or RecordDict({CONFIG: instruction_record(Instruction(**given))})
        return Message(made, dst_node_id=FIRST_NODE, message_type=action)

    def send(self, message: Message) -> Message:
        """What comes back on a message that is carried as it is."""
        (reply,) = self.grid.send_and_receive([message])
        return reply

    def signed(self, message: Message, clock: float | None = None) -> Message:
        """The message as the coordinator sends it, at the time ``clock``."""
        coordinator = self.coordinator if clock is None else SigningGrid(self.grid, self.key, clock=lambda: clock)
        # As Flower's grid does when it takes a message.
        message.metadata.__dict__["_run_id"] = 1
        return coordinator._signed(message)
