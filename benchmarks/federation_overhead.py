"""What does federation itself cost? One in-process federated round over the same local training without Flower.

Both sides train the demo's cGAN at three sites from the same weights on the same batches and average the results;
central evaluation is off on both. The federated side has everything else a study has: messages, checks, private state
on disk, logs, a checkpoint. Pairs are interleaved, and which side goes first alternates. The last line is the ratio.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from client.app import make_app, site_from_node_config
from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.site import load_site
from common.protocol.actions import Action
from common.protocol.records import Instruction
from common.study.config import compose, to_yaml
from common.study.experiment import Experiment, StrategyConfig
from common.study.progress import NoProgress
from common.system.logs import quiet_libraries
from common.training.build import build_gan_trainer
from server.aggregators.registry import build_aggregator
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.roster import call_roll
from server.rounds import FederatedTraining
from server.run_folder import RunFolder
from simulation.grid import InProcessGrid
from simulation.sites import prepare_everything

PAIRS = 9
STEPS = 30
MODEL = "cgan"
PHASE = f"gan/{MODEL}"


def main() -> None:
    quiet_libraries()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        experiment = compose(
            [
                "preset=demo",
                f"simulation.runs_dir={folder}/runs",
                f"simulation.cache_dir={folder}/cache",
                "simulation.threads=1",
                "federation.rounds=1",
                f"federation.local_steps={STEPS}",
                "cohort.test=2",
                "cohort.validation=0",
                "cohort.external=2",
                "cohort.reference=4",
                "split.test=2",
                "split.validation=0",
            ]
        )
        _, files = prepare_everything(RunFolder.new(experiment), NoProgress())
        files = [file for file in files if "train" in load_site(file).roles]
        initial = build_gan_trainer(
            experiment, MODEL, device=torch.device("cpu"), weights=experiment.weights
        ).shared_arrays()
        sides = {"federated": federated, "plain": plain}
        for run in sides.values():  # neither side pays for first use
            run(experiment, files, initial, Path(folder) / "warm-up")
        ratios = []
        for pair in range(PAIRS):
            seconds = {}
            for name in sorted(sides, reverse=bool(pair % 2)):
                started = time.perf_counter()
                weights = sides[name](experiment, files, initial, Path(folder) / f"{pair}-{name}")
                seconds[name] = time.perf_counter() - started
                assert set(weights) == set(initial)
            ratios.append(seconds["federated"] / seconds["plain"])
            print(f"pair {pair + 1} of {PAIRS}: {ratios[-1]:.3f}", flush=True)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    print(f"federated / plain, median of {PAIRS} pairs (95% bootstrap interval): ", end="")
    print(f"{np.median(ratios):.3f} ({low:.3f} to {high:.3f})")


def federated(experiment: Experiment, files: list[Path], initial: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """One round through messages, as in a study."""
    grid = InProcessGrid(make_app(site_from_node_config), files)
    text = to_yaml(experiment, leaving=True)
    roster = call_roll(
        grid, run=folder.name, experiment=text, sites=len(files), config=StrategyConfig(), progress=NoProgress()
    )
    return (
        FederatedTraining(
            grid=grid,
            action=Action.TRAIN_GAN,
            asked=Instruction(run=folder.name, phase=PHASE, experiment=text, model=MODEL),
            config=experiment.strategy,
            members=roster.able(PHASE),
            rounds=1,
            checkpoints=PhaseCheckpoints(folder, PHASE),
            progress=NoProgress(),
            exchange=Averaging(build_aggregator(experiment.strategy)),
        )
        .train(initial)
        .weights
    )


def plain(experiment: Experiment, files: list[Path], initial: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The same training and average as plain function calls."""
    updates = []
    for file in files:
        study = StudyContext(load_site(file), experiment, folder.name)
        trainer = build_gan_trainer(experiment, MODEL, device=study.device, weights=study.weights)
        trainer.load_shared_arrays(initial)
        trainer.train(trainer.batches(SiteData.of(study).training, STEPS, study.seed(PHASE, 1)))
        updates.append(trainer.shared_arrays())
    return {name: torch.stack([update[name] for update in updates]).mean(0) for name in initial}


if __name__ == "__main__":
    main()
