"""A round survives a crash: after each one, weights and record are on disk before the next begins.

A phase is a folder: ``round-00003.safetensors`` with its ``round-00003.json`` written last, which makes the round
count. ``result.json`` says that the phase is finished and what it found. Only the newest round and the chosen one keep
their weights; every round keeps its record.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from common.errors import DamagedFileError
from common.system.array_files import read_tensors, write_tensors
from common.system.files import read_json, read_table, write_json
from server.round_record import RoundRecord


class PhaseCheckpoints:
    """The rounds and the result of one phase of a run."""

    def __init__(self, run_dir: Path, phase: str) -> None:
        self.folder = run_dir / "checkpoints" / phase

    def records(self) -> list[RoundRecord]:
        """What was recorded of each finished round, in order.

        Raises:
            DamagedFileError: for a file that holds no record of its round.
        """
        records = []
        for number, file in enumerate(sorted(self.folder.glob("round-*.json")), start=1):
            try:
                record = RoundRecord.model_validate(read_table(file))
            except ValidationError as error:
                raise DamagedFileError(file, f"holds no record of round {number} of this release") from error
            if record.round != number:
                raise DamagedFileError(file, f"holds no record of round {number}")
            records.append(record)
        return records

    def weights(self, server_round: int) -> dict[str, Tensor]:
        """The aggregated weights after ``server_round``."""
        return read_tensors(self._weights_file(server_round))

    def state(self, server_round: int) -> dict[str, Tensor]:
        """What the coordinator kept after ``server_round`` beside the weights; empty if that was nothing."""
        file = self._state_file(server_round)
        return read_tensors(file) if file.exists() else {}

    def save_round(
        self,
        server_round: int,
        weights: dict[str, Tensor],
        record: RoundRecord,
        chosen: int | None = None,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        """Commits a round; drops older rounds' state, and the weights of those other than ``chosen``."""
        write_tensors(self._weights_file(server_round), weights)
        if state:
            write_tensors(self._state_file(server_round), state)
        write_json(self.folder / f"round-{server_round:05d}.json", record.model_dump())
        for newest in (self._weights_file(server_round), self._state_file(server_round)):
            for file in self.folder.glob(f"{newest.name.partition('-')[0]}-*.safetensors"):
                if file < newest and (chosen is None or file != self._weights_file(chosen)):
                    file.unlink()

    def result(self) -> Any | None:
        """What the phase found, or None while it is not finished."""
        file = self.folder / "result.json"
        return read_json(file) if file.exists() else None

    def finish(self, result: Any) -> None:
        """Marks the phase as finished; it will not be run again."""
        write_json(self.folder / "result.json", result)

    def _state_file(self, server_round: int) -> Path:
        return self.folder / f"state-{server_round:05d}.safetensors"

    def _weights_file(self, server_round: int) -> Path:
        return self.folder / f"round-{server_round:05d}.safetensors"
