"""From what the coordinator is about to a site's instruction."""

from common.protocol.records import ROUND, Instruction
from common.study.trials import Trial


def instruction_of(
    trial: Trial, *, run: str, phase: str, experiment: str, model: str = "", arm: str = "", server_round: int = 0
) -> Instruction:
    """The instruction for a phase of ``trial``."""
    return Instruction.model_validate(
        {
            "run": run,
            "phase": phase,
            "experiment": experiment,
            "model": model,
            "arm": arm,
            "images": trial.images,
            "repeat": trial.run,
            "fold": trial.fold,
            "patients": trial.patients,
            "ratio": trial.ratio,
            ROUND: server_round,
        }
    )
