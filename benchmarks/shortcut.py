"""Does a classifier learn from the traces of a generator? Each arm's share of refilled slices that is called tumour.

Healthy slices of the test patients get one region blanked and filled again without a tumour: whatever changes in the
share that is called tumour comes from the filling. Sites, training sets, generators and arms are those of
``augmentation.py`` (``--out`` may be its folder, whose generators are then used). The arm ``real`` has never seen a
filled slice: its change is what filling alone does, smoothing away what looked like a lesion.

The table shows points, the mean over training sets with a 95% interval over the test patients, by site and over sites.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation import prepared
from augmentation_arms import ARMS
from augmentation_data import HOSPITALS, Data
from augmentation_training import Setting, classifiers

from common.explanation.shortcut import refilled
from common.metrics.bootstrap import paired_difference
from common.metrics.classification import THRESHOLD
from common.seeding import derive_seed

COUNT = 256
SAMPLES = 2000
Called = dict[str, list[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="numbers of the training sets")
    parser.add_argument("--arms", nargs="+", default=["real", "cgan_tuned", "tuned_beside"], choices=list(ARMS))
    parser.add_argument("--hospitals", default="livers", choices=list(HOSPITALS))
    parser.add_argument("--patients", type=int, nargs="+", default=[8], help="in a training set")
    parser.add_argument("--at", nargs="+", help="sites; all if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"), help="trained generators")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("overrides", nargs="*", help="e.g. simulation.cache_dir=/scratch")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = Data.load(chosen.overrides, HOSPITALS[chosen.hospitals])
    setting = Setting(data.experiment, torch.device(chosen.device))
    before: dict[tuple[str, str], list[Any]] = {}
    after: dict[tuple[str, str], list[Any]] = {}
    owners: dict[str, list[Any]] = {}
    for number in chosen.sets:
        drawn = data.training_set(chosen.patients, number)
        making = prepared(setting, drawn, number, chosen.out / "generators")
        for site in chosen.at or data.sites:
            test = data.tests(site)[site]
            seed = derive_seed(number, site, "shortcut")
            positions, filled = refilled(making[site].tuned(), test, drawn[site], COUNT, seed)
            untouched = test.batch(positions).images
            owners.setdefault(site, []).append(test.owner[positions.numpy()])
            for arm in chosen.arms:
                stages = {site: ARMS[arm].stages(making[site])}
                trainer = classifiers(setting, stages, drawn, number, together=False, paired=ARMS[arm].paired)[site]
                pair = [(trainer.predict(images) >= THRESHOLD).double().numpy() for images in (untouched, filled)]
                before.setdefault((site, arm), []).append(pair[0])
                after.setdefault((site, arm), []).append(pair[1])
                change = 100 * (pair[1].mean() - pair[0].mean())
                print(f"set {number}, {site}, {arm}: {100 * pair[0].mean():.1f}, {change:+.1f}", flush=True)
    show(before, after, owners, chosen.arms)


def show(before: Any, after: Any, owners: dict[str, list[Any]], arms: list[str]) -> None:
    """Untouched share and change by site and arm; every training set's slices of a patient are that patient's."""
    print(f"\n{'site':<16}{'arm':<16}{'untouched':>10}{'change, points':>26}")
    for site in owners:
        owner = np.concatenate(owners[site])
        for arm in arms:
            first, second = (np.concatenate(parts[site, arm]) for parts in (before, after))
            difference = paired_difference(second, first, owner, SAMPLES, 1)
            share = 100 * paired_difference(first, np.zeros_like(first), owner, SAMPLES, 1).mean
            text = f"{100 * difference.mean:+.1f} [{100 * difference.low:.1f}, {100 * difference.high:.1f}]"
            print(f"{site:<16}{arm:<16}{share:>10.1f}{text:>26}")


if __name__ == "__main__":
    main()
