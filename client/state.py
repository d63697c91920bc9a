"""What must outlast a message and never leaves the site: optimisers and private networks, round by round.

The state after round r is kept until round r + 1 is done, because a coordinator that crashed may ask for r + 1 again.
"""

from pathlib import Path

from torch import Tensor

from common.array_files import read_tensors, write_tensors


class RoundState:
    """Private training state of one phase of one run, one safetensors file a round."""

    def __init__(self, folder: Path, run: str, phase: str) -> None:
        self.folder = folder / "state" / run / phase

    def before(self, server_round: int) -> dict[str, Tensor]:
        """The newest state from before ``server_round``; empty at the start."""
        rounds = [r for r in self._rounds() if r < server_round]
        return read_tensors(self._file(max(rounds))) if rounds else {}

    def newest(self) -> int:
        """The last round with a state; 0 where there is none."""
        return max(self._rounds(), default=0)

    def save(self, server_round: int, state: dict[str, Tensor]) -> None:
        """Keeps ``state`` as that after ``server_round``, and its predecessor; drops what is older."""
        write_tensors(self._file(server_round), state)
        older = sorted(r for r in self._rounds() if r < server_round)
        for stale in older[:-1]:
            self._file(stale).unlink()

    def _file(self, server_round: int) -> Path:
        return self.folder / f"round-{server_round:05d}.safetensors"

    def _rounds(self) -> list[int]:
        return [int(file.stem.removeprefix("round-")) for file in self.folder.glob("round-*.safetensors")]
