"""What stands below the answer, worded from the figures of the fixed split: the federation, single sites, and every
generator."""

from collections.abc import Mapping, Sequence

from common.figures.formatting import PERCENT, listed, plural
from common.report.arms import arm_title, compared, verdict
from common.report.privacy import delta_text, epsilon_text
from common.results.classifier import FEDERATED, ClassifierScores
from common.results.study import GanResult, Results
from common.study.experiment import PLAIN_ARMS
from server.report.protocols import PROTOCOLS, sentence
from server.report.scopes import alone
from server.same_sites import why_apart


def further(results: Results) -> list[str]:
    """Two sentences on the fixed split, one a GAN, and for a private study what it cost.

    Each says plainly what is missing, and that overlapping intervals show no difference.
    """
    local = alone(results.arms)
    return [
        " ".join(_federated(results)),
        _by_site(local) if results.privacy is None else _PRIVATE_ALONE,
        *_generators(results.gans),
        *_privacy(results),
    ]


def _federated(results: Results) -> list[str]:
    """On the federation's own classifiers: nothing but why, where other sites trained the one than the other."""
    first = [one for one in results.apart if not one.trial]
    if reason := why_apart(first, "real_synthetic", "real"):
        return [f"In federation, {_LEAD['not comparable']}: {reason}."]
    scores = results.arms.get(FEDERATED, {})
    together = {arm: one for arm, one in scores.items() if not why_apart(first, "real_synthetic", arm)}
    return [_in_federation(together), *_by_organ(results.organ_arms)]


_PRIVATE_ALONE = "Classifiers trained at one site alone are not private, so their figures stayed at the sites."


def _privacy(results: Results) -> list[str]:
    """What the study cost in privacy, and where its networks had learnt what they know; nothing for a plain study."""
    found = results.privacy
    if found is None:
        return []
    sentences = ["No site stated what this study cost its patients in privacy."]
    if found.sites:
        site, worst = max(found.sites.items(), key=lambda item: item[1].epsilon)
        sentences = [
            f"Every federated training was private by patient: all of them together cost a site an epsilon of at most "
            f"{epsilon_text(worst.epsilon)} ({site}) at delta {delta_text(worst.delta)}."
        ]
    if any(run.pretrained for gan in results.gans.values() for run in gan.runs):
        sentences.append(
            "The generators had learnt from public slices before: what that alone reached stands under Generators, and "
            "where the federation added nothing to it, their quality is no merit of the sites' patients."
        )
    return [" ".join(sentences)]


_LEAD = {
    "higher": "accuracy was higher with synthetic images",
    "lower": "accuracy was lower with synthetic images",
    "no difference shown": "no difference in accuracy with synthetic images is shown",
    "not comparable": "accuracy with and without synthetic images cannot be compared",
}
_WHY = {
    "higher": "the intervals are apart",
    "lower": "the intervals are apart",
    "no difference shown": "the intervals overlap",
    "not comparable": "there are no intervals",
}


def _in_federation(scores: Mapping[str, ClassifierScores]) -> str:
    augmented, real = scores.get("real_synthetic"), scores.get("real")
    if augmented is None or real is None or None in (augmented.value("accuracy"), real.value("accuracy")):
        return "In federation, real-only and real + synthetic classifiers were not both scored in this run."
    found = compared(augmented.get("accuracy"), real.get("accuracy"))
    behind = f", on {plural(augmented.patients, 'test patient')}" if augmented.patients is not None else ""
    sentence = (
        f"In federation, {_LEAD[found]}: {PERCENT.interval(augmented.get('accuracy'))} against "
        f"{PERCENT.interval(real.get('accuracy'))} with real images only{behind}; {_WHY[found]}."
    )
    baselines = [arm for arm in PLAIN_ARMS if arm in scores and scores[arm].value("accuracy") is not None]
    if not baselines:
        return sentence
    figures = listed(f"{PERCENT.interval(scores[arm].get('accuracy'))} with {arm_title(arm)}" for arm in baselines)
    beside = verdict(scores, against=baselines)
    return f"{sentence[:-1]}; the plain baselines had {figures}, and real + synthetic is {beside}."


def _by_organ(organs: Mapping[str, Mapping[str, ClassifierScores]]) -> list[str]:
    """One sentence on the organs of a study of several; none in a study of one."""
    clauses = []
    for organ, scores in organs.items():
        if "real" not in scores or "real_synthetic" not in scores:
            continue
        real, augmented = scores["real"].get("accuracy"), scores["real_synthetic"].get("accuracy")
        if real is None or augmented is None or real.value is None or augmented.value is None:
            clauses.append(f"{organ} not shown (too few patients)")
            continue
        figures = f"{PERCENT.interval(augmented)} against {PERCENT.interval(real)}"
        clauses.append(f"{organ} {figures} ({compared(augmented, real)})")
    return [f"By organ: {'; '.join(clauses)}."] if clauses else []


def _by_site(local: Mapping[str, Mapping[str, ClassifierScores]]) -> str:
    pairs = {
        site: (scores["real"].get("accuracy"), scores["real_synthetic"].get("accuracy"))
        for site, scores in local.items()
        if "real" in scores and "real_synthetic" in scores
    }
    known = {site: (a, b) for site, (a, b) in pairs.items() if a and b and a.value is not None and b.value is not None}
    if not known:
        return "At single sites, no pair of real-only and real + synthetic classifiers can be compared in this run."
    found = {site: compared(augmented, real) for site, (real, augmented) in known.items()}
    leads = [
        f"{_LEAD[word]} at {_where(sites, known, word)} ({_WHY[word]})"
        for word in _LEAD
        if (sites := [site for site in known if found[site] == word])
    ]
    changes = [
        f"{PERCENT.text(augmented.value)} against {PERCENT.text(real.value)} at {site}"
        for site, (real, augmented) in known.items()
    ]
    return f"With the classifier trained at one site alone, {listed(leads)}: {listed(changes)}."


def _where(some: Sequence[str], known: Mapping[str, object], word: str) -> str:
    if len(some) < len(known) or len(known) == 1:
        return listed(some)
    return f"all {len(known)} sites" if word in ("higher", "lower") else f"any of the {len(known)} sites"


def _generators(gans: Mapping[str, GanResult]) -> list[str]:
    """One sentence a GAN."""
    return [_generator(name, gan) for name, gan in gans.items()] or ["No generator was trained in this run."]


def _generator(name: str, gan: GanResult) -> str:
    """A clause a subject."""
    if not gan.final:
        return f"{name} was not scored on the final part of the reference set."
    which = f"{name} of round {gan.chosen_round}" if gan.chosen_round is not None else name
    return f"{PROTOCOLS[gan.protocol].lead}: {sentence(which, gan.final)}."
