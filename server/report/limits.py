"""What a study's figures do not show, said in the report whatever they are."""

from collections.abc import Mapping

from common.report.formatting import listed, plural
from common.results import ArmScores, Results


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
    found.append(
        "One run with one seed: the intervals cover the choice of test patients, not the spread over training runs."
    )
    found.append(
        "Arms and sites are compared several times without a correction for it; intervals of arms are not paired."
    )
    found.append(
        "A slice counts as tumour by the number of its tumour pixels; no radiologist has read the synthetic images."
    )
    if few := _smallest_test_set(results.arms):
        site, patients = few
        found.append(f"The smallest test set with figures has {plural(patients, 'patient')} ({site}).")
    silent = [name for name, site in results.sites.items() if site.patients is None]
    if silent:
        found.append(f"Counts were not declared by {listed(silent)}; figures cannot be weighed by them.")
    return found


def meanings(results: Results) -> list[str]:
    """What each kind of figure is and is not."""
    sentences = [
        "Whole-image SSIM and PSNR of an inserted lesion are mostly the copied surroundings and the black background; "
        "the lesion crop against biharmonic inpainting is what counts.",
        "Biharmonic inpainting fills the blanked region smoothly from its edge without any learning. A generator that "
        "does not beat it has learnt nothing about lesions.",
    ]
    names = sorted(
        {scores.frechet.name for gan in results.gans.values() for r in gan.rounds for scores in r.scores.values()}
    )
    if others := [name for name in names if name != "FID"]:
        sentences.append(
            f"{listed(others)} is a Fréchet distance of other features than the standard Inception network's: it is "
            "not FID and cannot be compared with published FID values."
        )
    if names:
        sentences.append(
            "A Fréchet distance is biased upward at small n; read it beside the distance between two real samples of "
            "the same n, not beside zero."
        )
    if results.arms:
        sentences.append(
            "Accuracy, precision, recall and F1 are of slices at probability 0.5; AUC does not "
            "depend on the threshold. Intervals are bootstrapped over patients, because slices of one "
            "patient are alike."
        )
        sentences.append("A dash stands for a figure that was not reached, not shared or rests on too few patients.")
    return sentences


def _smallest_test_set(arms: Mapping[str, Mapping[str, ArmScores]]) -> tuple[str, int] | None:
    sizes = {
        scope: scores.patients
        for scope, by_arm in arms.items()
        for scores in by_arm.values()
        if scores.patients is not None and scope != "federated"
    }
    return min(sizes.items(), key=lambda item: item[1]) if sizes else None
