"""Do synthetic images help a classifier that has eight patients to learn from? Every arm over several training sets.

Three demo sites (brain, lung, liver), each with a pool of 48 patients, 40 fixed test patients, and for the brain an
external centre of 40 patients with another scanner. A training set is eight patients of the pool at each site; five of
them are drawn by seed. For each, a cGAN is trained by FedAvg over the three sites (and one at each site alone), slices
are made as many as the real ones, and a classifier is trained in each arm with the same steps, from the same first
weights: at each site alone, and by FedAvg over the sites. ``--hospitals livers`` (or ``lungs``, ``brains``) asks three
hospitals of one organ with different scanners instead, and an external centre with a fourth; ``--patients 8 48 48``
asks what a small one gains from two large ones. ``--hospitals brain site=brain organs.brain.contrasts=[flair,t1ce]``
asks the first brain alone, with two contrasts of a slice made at once.

The table shows by place and arm the gain over real slices alone (or another arm, ``--against``) in points of accuracy
and AUC: the mean over the training sets, in brackets a 95% interval over the test patients (whole patients are
resampled, in all arms alike), then the standard deviation over the training sets; last the ratio of the errors.

Every result is written down as it comes, and is not computed again: a second call goes on where the first was stopped.
Other patients or overrides need another ``--out``. Further words are overrides, e.g. ``simulation.cache_dir=/scratch``.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation_arms import ARMS, Making
from augmentation_data import HOSPITALS, Data
from augmentation_table import table
from augmentation_training import Setting, classifiers, generators, probabilities, tuned

from common.seeding import derive_seed
from common.training.classifier import TrainingSet

RESULTS = "results.jsonl"


def run(
    data: Data,
    setting: Setting,
    patients: Sequence[int],
    numbers: Sequence[int],
    arms: Sequence[str],
    scopes: Sequence[str],
    at: Sequence[str],
    out: Path,
) -> None:
    """Computes what ``out`` does not hold yet, for the classifiers of the sites ``at``."""
    kept = out / RESULTS
    done = {(row["set"], row["scope"], row["site"], row["arm"]) for row in read(kept)}
    for number in numbers:
        drawn = data.training_set(patients, number)
        making = prepared(setting, drawn, number, out / "generators")
        for arm in arms:
            for scope in scopes:
                missing = [site for site in at if (number, scope, site, arm) not in done]
                if not missing:
                    continue
                started = time.perf_counter()
                wanted = list(drawn) if scope == "federated" else missing
                stages = {site: ARMS[arm].stages(making[site]) for site in wanted}
                trained = classifiers(setting, stages, drawn, number, scope == "federated", ARMS[arm].paired)
                seconds = (time.perf_counter() - started) / len(wanted)
                for site, trainer in trained.items():
                    tests = {name: probabilities(trainer, slices) for name, slices in data.tests(site).items()}
                    keep(kept, {"set": number, "scope": scope, "site": site, "arm": arm, "seconds": seconds}, tests)
                print(f"set {number}, {scope}, {arm}: {seconds:.1f} s a site", flush=True)


def prepared(setting: Setting, drawn: Mapping[str, Any], number: int, gans: Path) -> dict[str, Making]:
    """What each site makes slices from; generators are trained when an arm asks for them."""
    trained: dict[str, Any] = {}

    def generator(site: str, together: bool) -> Any:
        if (key := "federated" if together else site) not in trained:
            started = time.perf_counter()
            trained[key] = generators(setting, drawn if together else {site: drawn[site]}, number, together, gans)
            print(f"set {number}, generator: {key}, {time.perf_counter() - started:.0f} s", flush=True)
        return trained[key][site]

    more: dict[tuple[str, bool], Any] = {}

    def tune(site: str, together: bool) -> Any:
        if (site, together) not in more:
            more[site, together] = tuned(setting, drawn[site], generator(site, together), number, site)
        return more[site, together]

    judges: dict[str, Any] = {}

    def judge(site: str) -> Any:
        if site not in judges:
            alone = {site: [[TrainingSet.from_slices(drawn[site])]]}
            judges[site] = classifiers(setting, alone, drawn, number, together=False)[site]
        return judges[site]

    return {
        site: Making(
            slices,
            judge=lambda site=site: judge(site),  # type: ignore[misc]
            federated=lambda site=site: generator(site, True),  # type: ignore[misc]
            local=lambda site=site: generator(site, False),  # type: ignore[misc]
            tuned=lambda site=site: tune(site, True),  # type: ignore[misc]
            local_tuned=lambda site=site: tune(site, False),  # type: ignore[misc]
            others=[slices for name, slices in drawn.items() if name != site],
            seed=derive_seed(number, site, "synthesis"),
        )
        for site, slices in drawn.items()
    }


def read(kept: Path) -> list[dict[str, Any]]:
    """The results so far."""
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def keep(kept: Path, about: Mapping[str, Any], tests: Mapping[str, torch.Tensor]) -> None:
    """Adds a line for each place where a classifier was tested."""
    with kept.open("a") as file:
        for test, probability in tests.items():
            values = [round(value, 4) for value in probability.tolist()]
            file.write(json.dumps({**about, "test": test, "probability": values}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="numbers of the training sets")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--scopes", nargs="+", default=["local", "federated"], choices=["local", "federated"])
    parser.add_argument("--hospitals", default="organs", choices=list(HOSPITALS), help="one an organ, or three of one")
    parser.add_argument(
        "--patients", type=int, nargs="+", default=[8], help="in a training set, of each site or of all"
    )
    parser.add_argument("--at", nargs="+", help="sites whose classifiers are trained; all if left out")
    parser.add_argument("--against", default="real", choices=list(ARMS), help="what gains are over")
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"), help="results and trained generators")
    parser.add_argument("--device", default="cpu", help="where networks train, e.g. cuda")
    parser.add_argument("--table", action="store_true", help="show what is there, compute nothing")
    parser.add_argument("overrides", nargs="*", help="e.g. simulation.cache_dir=/scratch")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = Data.load(chosen.overrides, HOSPITALS[chosen.hospitals])
    chosen.out.mkdir(parents=True, exist_ok=True)
    if not chosen.table:
        setting = Setting(data.experiment, torch.device(chosen.device))
        at = chosen.at or list(data.sites)
        run(data, setting, chosen.patients, chosen.sets, chosen.arms, chosen.scopes, at, chosen.out)
    places = {**{name: site.test for name, site in data.sites.items()}, **{n: s.test for n, s in data.external.items()}}
    truths = {name: (slices.tumour_class().astype(np.float64), slices.owner) for name, slices in places.items()}
    rows = [row for row in read(chosen.out / RESULTS) if row["set"] in chosen.sets and row["scope"] in chosen.scopes]
    print(table([row for row in rows if row["test"] in truths], truths, chosen.arms, chosen.against))


if __name__ == "__main__":
    main()
