"""What a study's figures do not show, said in the report whatever they are."""

from collections.abc import Mapping

from common.report.formatting import listed, plural
from common.results import Results
from common.results_classifier import ArmScores
from server.report.findings import used_generator
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
        for figure in (one.accuracy, one.auc, one.recall, one.precision, one.f1)
        if figure.mean is not None and figure.low is None
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
    steps = model.get("tuning_steps", 0) if isinstance(model, Mapping) else 0
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
    kinds = {scores.kind for scores in scored}
    sentences = [text for kind, texts in _OF_A_KIND.items() if kind in kinds for text in texts]
    names = sorted({scores.frechet.name for scores in scored})
    if others := [name for name in names if name != "FID"]:
        sentences.append(
            f"{listed(others)} is a Fréchet distance of other features than the standard Inception network's: it is "
            "not FID and cannot be compared with published FID values."
        )
    if names:
        sentences += [
            "A Fréchet distance is biased upward at small n; read it beside the distance between two real samples of "
            "the same n, not beside zero.",
            "The normalised distance puts it on a scale: 0 is as near as real images of other patients, 1 as far as "
            "blurred real images, and worse lies above 1. A dash: these features cannot tell the two apart at this n.",
        ]
    if kernels := sorted({scores.distribution.kernel.name for scores in scored}):
        sentences.append(
            f"{listed(kernels)} is a kernel distance between the same sets: not biased by n, and therefore sometimes "
            "below zero; several slices a patient lift it, for real images too."
        )
    if any(scores.distribution.manifold for scores in scored):
        sentences += [
            "Precision is the share of generated images that lie among real ones, recall the share of real ones that "
            "lie among the generated: images that are good but all alike have precision and no recall.",
            "Density and coverage ask the same with less weight on outliers: in how many real neighbourhoods an image "
            "lies (1 on average for real ones), and what share of the neighbourhoods hold an image at all.",
        ]
    if results.arms:
        sentences.append(
            "Accuracy, precision, recall and F1 are of slices at probability 0.5; AUC does not "
            "depend on the threshold. Intervals are bootstrapped over patients, because slices of one "
            "patient are alike."
        )
        if any(scores.sensitivity for by_arm in results.arms.values() for scores in by_arm.values()):
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


_OF_A_KIND = {
    "paired": (
        "Whole-image SSIM and PSNR of an inserted lesion are mostly the copied surroundings and the black background; "
        "the lesion crop against biharmonic inpainting is what counts.",
        "Biharmonic inpainting fills the blanked region smoothly from its edge without any learning. A generator that "
        "does not beat it has learnt nothing about lesions.",
    ),
    "nearest": (
        "Nearest SSIM and PSNR compare a slice made from noise with the most similar real one. High is not good by "
        "itself: a copy of a real slice, or its blurred likeness, scores higher than a real slice of another patient.",
        "MS-SSIM of pairs says how alike the images of one set are to each other. Clearly above that of real pairs, "
        "the generator makes few different images; the black background lifts both.",
    ),
    "cycle": (
        "Cycle SSIM and PSNR compare a slice with itself after translation there and back. They say that nothing was "
        "lost, not that anything was translated: a generator that changes nothing reaches 1.",
    ),
    "translation": (
        "A translated contrast is compared with the one that was really taken. Contrasts of one slice share their "
        "anatomy, so that the untranslated slice is alike to begin with: what counts is the gain over it.",
        "The translating generator is given the label map: that its lesions lie in the right place says nothing. What "
        "neither the source nor the label map shows, such as an uptake of contrast agent, it can only guess.",
    ),
}


def _smallest_test_set(arms: Mapping[str, Mapping[str, ArmScores]]) -> tuple[str, int] | None:
    sizes = {
        scope: scores.patients
        for scope, by_arm in arms.items()
        for scores in by_arm.values()
        if scores.patients is not None
    }
    return min(sizes.items(), key=lambda item: item[1]) if sizes else None
