"""What a study's figures do not show, said in the report whatever they are."""

from collections.abc import Mapping

from common.figures.formatting import listed, plural
from common.figures.registry import METRICS
from common.results.classifier import ClassifierScores
from common.results.study import Results
from server.report.findings import used_generator
from server.report.protocols import PROTOCOLS
from server.report.repeated import MAIN
from server.report.scopes import alone, titled

FEW = 10
"""A test over fewer run-folds is said to rest on few."""


def limits(results: Results) -> list[str]:
    """Sentences, the gravest first; those about the demo cohort only if it was used."""
    found = []
    if results.run.demo_cohort:
        found += [
            "The patients are those of the demo cohort: every one is a deformation of one anatomy for each organ, with "
            "a lesion drawn into it. Training, test and reference patients resemble each other more than people do.",
            "Similarity (SSIM, PSNR, Fréchet distance) and memorisation figures are therefore optimistic, and the "
            "lesions follow rules that a plain blob may meet as well as a generator does.",
            "The numbers of patients are small, so that the demo runs in minutes; its intervals are wide and its "
            "figures are no evidence about any clinical data.",
        ]
    found.append(_seeds(results))
    found += _tuning(results)
    found += _multiplicity(results)
    found.append(
        "A slice counts as tumour by the number of its tumour pixels; no radiologist has read the synthetic images."
    )
    if few := _smallest_test_set(alone(results.arms)):
        site, patients = few
        found.append(f"The smallest test set with figures has {plural(patients, 'patient')} ({site}).")
    found += _without_interval(results)
    silent = [name for name, site in results.sites.items() if site.patients is None]
    if silent:
        found.append(f"Counts were not declared by {listed(silent)}; figures cannot be weighed by them.")
    return found


def _without_interval(results: Results) -> list[str]:
    """Why some classifiers' figures stand there without an interval; nothing where all have one."""
    scopes = {
        titled(results, scope)
        for scope, arms in results.arms.items()
        for one in arms.values()
        for figure in one.values()
        if figure.metric in MAIN and figure.value is not None and figure.low is None
    }
    if not scopes:
        return []
    return [
        f"Some figures have no interval ({listed(sorted(scopes))}): behind them are fewer patients than study.min_cell,"
        " one alone, or patients of whom all were told alike, and an interval without width would look like "
        "certainty; a mean over sites has none where one of theirs has none."
    ]


def _multiplicity(results: Results) -> list[str]:
    """What a correction for several comparisons covers, and how few repetitions the tests rest on."""
    tables = [table for of_scope in results.comparisons.values() for table in of_scope]
    if not tables:
        return [
            "Arms and sites are compared several times without a correction for it; intervals of arms are unpaired."
        ]
    found = [
        "Probabilities are corrected for the comparisons of one table (Holm), not for the other score and the other "
        "sites; intervals of arms are not paired, those of gains are."
    ]
    counts = [one.corrected.n for table in tables for one in table.comparisons]
    if counts and min(counts) < FEW:
        found.append(
            f"The smallest number of run-folds in a test is {min(counts)}: so few find only differences that are large "
            "beside their spread, and a missing finding says little."
        )
    return found


def _tuning(results: Results) -> list[str]:
    """Whose generator made the images, where that is not the one with the scores."""
    models = results.run.config.get("models")
    name = used_generator(results)
    model = models.get(name) if isinstance(models, Mapping) else None
    steps = model.get("finetune_steps", 0) if isinstance(model, Mapping) else 0
    if not steps or results.privacy is not None:
        return []
    return [
        f"Before it made the images of the arms, each site trained {name} on alone for {plural(steps, 'step')}; the "
        "generator's own figures are those of the weights that all sites share."
    ]


def _seeds(results: Results) -> str:
    """What the intervals do not cover."""
    sets = [trial for trial in results.trials if trial.fold or not (trial.patients or trial.ratio or trial.images)]
    if len(sets) > 1:
        runs = plural(len({trial.run for trial in sets}), "run")
        folds = len({trial.fold for trial in sets if trial.fold})
        each = f"{runs} of {plural(folds, 'fold')}" if folds else runs
        return (
            f"The classifier study was repeated ({each}): intervals cover the choice of test patients, standard "
            "deviations the training sets and seeds, and neither covers both."
        )
    if all(len(gan.runs) <= 1 for gan in results.gans.values()):
        return (
            "One run with one seed: the intervals cover the choice of test patients, not the spread over training runs."
        )
    return (
        "The spread over trainings was measured for generators alone. The arms rest on the images of a generator's "
        "first run and on one seed: their intervals cover the choice of test patients."
    )


def meanings(results: Results) -> list[str]:
    """What each kind of figure is and is not; only of those that occur."""
    scored = [
        scores
        for gan in results.gans.values()
        for scores in (*gan.final.values(), *(one for r in gan.rounds for one in r.scores.values()))
    ]
    protocols = {scores.protocol for scores in scored}
    sentences = [text for key, one in PROTOCOLS.items() if key in protocols for text in one.limits]
    measured = {figure.metric: figure for scores in scored for figure in scores.figures}
    sentences += [
        f"{one.name[:1].upper()}{one.name[1:]}: {one.of.meaning}"
        for key in METRICS
        if (one := measured.get(key)) is not None and one.of.kind == "set"
    ]
    names = {figure.name for scores in scored for figure in scores.figures if figure.metric == "frechet"}
    if others := sorted(names - {"FID"}):
        sentences.append(
            f"{listed(others)} is a Fréchet distance of other features than the standard Inception network's: it is "
            "not FID and cannot be compared with published FID values."
        )
    if results.arms:
        sentences.append(
            "Accuracy, precision, recall and F1 are of slices at probability 0.5; AUC does not "
            "depend on the threshold. Intervals are bootstrapped over patients, because slices of one "
            "patient are alike."
        )
        if any(scores.get("sensitivity") for by_arm in results.arms.values() for scores in by_arm.values()):
            sentences.append(
                "Sensitivity is told at a fixed specificity, at a threshold found on the test slices themselves. The "
                "Brier score and the calibration error say how far a probability can be taken at its word; the latter "
                "is biased upward where a bin holds few slices, and compares arms tested on the same patients only."
            )
        if results.gains:
            sentences.append(
                "A gain is an arm's figure minus that of real slices only, on the same patients; its interval is "
                "paired over them and therefore narrower than the arms' own."
            )
        if results.comparisons:
            sentences.append(
                "Run-folds share training patients. The corrected resampled t-test widens the variance by the size of "
                "the fold beside that of the training set to allow for it; the plain paired t-test does not, and finds "
                "too much."
            )
        sentences.append("A dash stands for a figure that was not reached, not shared or rests on too few patients.")
    return sentences


def _smallest_test_set(arms: Mapping[str, Mapping[str, ClassifierScores]]) -> tuple[str, int] | None:
    sizes = {
        scope: scores.patients
        for scope, by_arm in arms.items()
        for scores in by_arm.values()
        if scores.patients is not None
    }
    return min(sizes.items(), key=lambda item: item[1]) if sizes else None
