"""The verdicts of the first screen: a word, a short sentence and one figure with its interval on each of four
questions. The full answer, with every test and its n, is in :mod:`server.report.answer`."""

from dataclasses import dataclass

from common.figures.formatting import POINTS, Interval, Scale, listed, plural
from common.figures.registry import REFERENCES
from common.metrics.bootstrap import Estimate
from common.report.arms import arm_title
from common.report.privacy import delta_text, epsilon_text
from common.results.classifier import EXTERNAL, FEDERATED, SITES
from common.results.study import Results
from common.study.experiment import PLAIN_ARMS
from server.report.answer import answer
from server.report.findings import AUGMENTED, arms, comparison_of, gain_of, lead, side, used_generator
from server.report.protocols import headline_gain
from server.report.scopes import alone

GOOD, BAD, OPEN = "good", "bad", "open"
_WORDS = {
    "Yes": GOOD,
    "On these test patients, yes": GOOD,
    "No": BAD,
    "Not settled": OPEN,
    "Not shown": OPEN,
    "Contradictory": OPEN,
    "Not compared": OPEN,
    "Not measured": OPEN,
}
"""How each verdict of the full answer may begin, and its tone."""
_WHERE = {FEDERATED: "in federation"}


@dataclass(frozen=True)
class Verdict:
    """One card of the first screen.

    Attributes:
        question: what is answered.
        word: the answer; ``tone`` (``good``, ``bad`` or ``open``) only colours it.
        sentence: what the answer means.
        figure, interval: the figure that it rests on and its 95% interval in words; empty without one.
        about: what the figure is.
        anchor: the part of the report that says more.
    """

    question: str
    word: str
    tone: str
    sentence: str
    anchor: str
    figure: str = ""
    interval: str = ""
    about: str = ""


def verdicts(results: Results) -> list[Verdict]:
    """Whether synthetic images help, what the generator is worth, how far both reach, and what privacy there is."""
    helps, generator, _ = answer(results)
    return [_helps(results, helps.verdict), _generator(results, generator.verdict), _reach(results), _privacy(results)]


def _helps(results: Results, verdict: str) -> Verdict:
    word, tone, rest = _opened(verdict)
    scope = lead(results)
    gain = gain_of(results, scope, AUGMENTED)
    sentence = {
        "Yes": "Accuracy rises with synthetic images, by patients and by training sets alike.",
        "On these test patients, yes": "Accuracy rises on the fixed test patients; not tested over training sets.",
        "No": "Accuracy falls with synthetic images.",
        "Not settled": f"{rest[:1].upper()}{rest[1:]}.",
        "Not shown": "This study shows no gain in accuracy.",
        "Contradictory": "Test patients and training sets point in opposite directions.",
        "Not compared": "Different sites trained with and without synthetic images.",
        "Not measured": "No gain in accuracy was measured.",
    }[word]
    sets = f", {plural(gain.trials, 'training set')}" if gain else ""
    about = f"gain over real images only, {_WHERE.get(scope, 'mean of single sites')}{sets}"
    word = "Yes, on these patients" if word.startswith("On") else word
    return Verdict(
        "Do synthetic images help?", word, tone, sentence, "answer", *_gain(gain.accuracy if gain else None, about)
    )


def _generator(results: Results, verdict: str) -> Verdict:
    word, tone, rest = _opened(verdict)
    question = "Is it worth a generator?"
    if rest.startswith("to do better than"):
        sentence = f"It may do no better than{rest.removeprefix('to do better than')}."
    elif word == "Not compared":
        sentence = "Different sites stand behind the arms that it would be compared with."
    elif word == "Not measured":
        sentence = "There is no plain baseline to compare it with."
    else:
        sentence = f"{rest[:1].upper()}{rest[1:]}."
    return Verdict(question, word, tone, sentence, "answer", *_over_baseline(results))


def _over_baseline(results: Results) -> tuple[str, str, str]:
    """What the generator adds to the strongest plain baseline; without a test the baseline's own gain, and without a
    baseline what the generator gains over filling without learning."""
    scope = lead(results)
    plain = [arm for arm in PLAIN_ARMS if arm in arms(results)]
    compared = {arm: comparison_of(results, scope, AUGMENTED, arm) for arm in plain}
    tests = {arm: one.corrected for arm, one in compared.items() if one is not None}
    if tests:
        arm, test = min(tests.items(), key=lambda item: item[1].mean or 0.0)
        about = f"gain of {arm_title(AUGMENTED)} over {arm_title(arm)}"
        return _gain(Estimate(test.mean, test.low, test.high), about)
    gains = {arm: one.accuracy for arm in plain if (one := gain_of(results, scope, arm)) is not None}
    if gains:
        arm, gain = max(gains.items(), key=lambda item: item[1].value or 0.0)
        return _gain(gain, f"gain without a generator ({arm_title(arm)})")
    name = used_generator(results)
    finals = results.gans[name].final if name else {}
    for subject, final in finals.items():
        over = headline_gain(final)
        if over is not None:
            scale = over.of.differences
            about = f"{over.name} of {name} over {REFERENCES[over.against]}, {subject}"
            return scale.text(over.value), _bounds(scale, over), about
    return "", "", ""


def _reach(results: Results) -> Verdict:
    question = "Does it reach other sites?"
    outside = gain_of(results, EXTERNAL, AUGMENTED)
    if outside is not None:
        word, tone, sentence = {
            1: ("Yes", GOOD, "Accuracy rises at external centres, which trained nothing."),
            -1: ("No", BAD, "Accuracy falls at external centres, which trained nothing."),
            0: ("Not shown", OPEN, "No gain in accuracy is shown at external centres, which trained nothing."),
        }[side(outside.accuracy)]
        about = "gain over real images only, at external centres"
        return Verdict(question, word, tone, sentence, "cross-site", *_gain(outside.accuracy, about))
    sites = alone({one.scope: None for one in results.gains})
    known = [one.accuracy for site in sites if (one := gain_of(results, site, AUGMENTED)) is not None]
    above = sum(side(gain) > 0 for gain in known)
    sentence = "No external centre tested it."
    if known:
        sentence += f" At single sites the gain is above zero at {above} of {len(known)}."
    mean = gain_of(results, SITES, AUGMENTED)
    about = "gain over real images only, mean of single sites"
    return Verdict(question, "Not measured", OPEN, sentence, "sites", *_gain(mean.accuracy if mean else None, about))


def _privacy(results: Results) -> Verdict:
    question = "Are patients protected?"
    found = results.privacy
    if found is None:
        sentence = "Trained without differential privacy: nothing bounds what weights and images reveal of a patient."
        return Verdict(question, "No guarantee", BAD, sentence, "privacy", "\N{GREEK SMALL LETTER EPSILON} unbounded")
    faults = [one for one in found.audit if not one.holds]
    if not found.sites:
        return Verdict(question, "Not known", BAD, "No site stated what this study cost its patients.", "privacy")
    trained = {name for name, entry in results.sites.items() if "train" in entry.roles}
    silent = sorted((trained | set(found.silent)) - set(found.sites))
    site, worst = max(found.sites.items(), key=lambda item: item[1].epsilon)
    proved = max((one.bound for one in found.audit), default=None)
    audited = "not audited" if proved is None else f"an attack on one training step proved {epsilon_text(proved)}"
    if faults or (found.canary is not None and found.canary.findings):
        word, tone, sentence = "Not as stated", BAD, "The audit found a fault: do not rely on this epsilon."
    elif silent:
        word, tone = "In part", OPEN
        sentence = f"No statement from {listed(silent)}; the other sites trained with a guarantee."
    else:
        word, tone, sentence = "Bounded", GOOD, "Every site that trained did so with differential privacy by patient."
    figure = f"\N{GREEK SMALL LETTER EPSILON} \N{LESS-THAN OR EQUAL TO} {epsilon_text(worst.epsilon)}"
    about = f"the largest of a site ({site}); {audited}"
    return Verdict(question, word, tone, sentence, "privacy", figure, f"delta {delta_text(worst.delta)}", about)


def _opened(verdict: str) -> tuple[str, str, str]:
    """The word that a verdict of the full answer begins with, its tone, and the rest of it."""
    word = next(one for one in sorted(_WORDS, key=len, reverse=True) if verdict.startswith(one))
    return word, _WORDS[word], verdict.removeprefix(word).lstrip(", ")


def _gain(interval: Interval | None, about: str) -> tuple[str, str, str]:
    """Figure, interval and what they are; three empty texts without a figure."""
    if interval is None or interval.value is None:
        return "", "", ""
    return f"{POINTS.number(interval.value)} points", _bounds(POINTS, interval), about


def _bounds(scale: Scale, interval: Interval) -> str:
    bounds = scale.bounds(interval)
    return f"95% interval {bounds}" if bounds else "no interval"
