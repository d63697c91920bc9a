"""What must outlast a message and never leaves the site: optimisers and private networks, round by round.

A training starts from the state of the last round whose update counted, as the coordinator says. Two are kept: that
one, because a coordinator that crashed or refused the update of the next round asks again from there, and the newest.
"""

from pathlib import Path

from torch import Tensor

from common.system.array_files import read_tensors, write_tensors


class RoundState:
    """Private training state of one phase of one run, one safetensors file a round.

    Args:
        run_state: the run's state at this site.
        phase: of the training.
    """

    def __init__(self, run_state: Path, phase: str) -> None:
        self.folder = run_state / phase

    def after(self, server_round: int) -> dict[str, Tensor]:
        """The newest state from ``server_round`` or before; empty where there is none, as at the start."""
        begun = self._newest(server_round)
        return read_tensors(self._file(begun)) if begun else {}

    def has(self, server_round: int) -> bool:
        """Whether :meth:`after` finds a state."""
        return self._newest(server_round) > 0

    def newest(self) -> int:
        """The last round with a state; 0 where there is none."""
        return max(self._rounds(), default=0)

    def save(self, server_round: int, state: dict[str, Tensor], *, since: int) -> None:
        """Keeps ``state`` as that after ``server_round``, and the one of ``since`` or before that it began from.

        All others go: those that nobody goes back to, and those whose update did not count.
        """
        write_tensors(self._file(server_round), state)
        for stale in set(self._rounds()) - {server_round, self._newest(since)}:
            self._file(stale).unlink()

    def _newest(self, server_round: int) -> int:
        return max((r for r in self._rounds() if r <= server_round), default=0)

    def _file(self, server_round: int) -> Path:
        return self.folder / f"round-{server_round:05d}.safetensors"

    def _rounds(self) -> list[int]:
        return [int(file.stem.removeprefix("round-")) for file in self.folder.glob("round-*.safetensors")]
