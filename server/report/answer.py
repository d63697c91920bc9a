"""The answer in three sentences with figures: whether synthetic images help, whether it is the generator, and how far
it carries. What the study did not have is said to be not measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from common.figures.formatting import DECIBEL, MISSING, POINTS, SIMILARITY, Interval, listed, plural, significant
from common.report.arms import arm_title, compared
from common.report.privacy import delta_text, epsilon_text
from common.results.classifier import EXTERNAL, FEDERATED, SITES
from common.results.statistics import Comparison
from common.results.study import Results
from common.study.experiment import PLAIN_ARMS
from server.report.findings import (
    AUGMENTED,
    LOCAL,
    REAL,
    SYNTHETIC,
    arms,
    comparison_of,
    found_by_test,
    gain_of,
    lead,
    side,
    used_generator,
)
from server.report.overview import over_runs
from server.report.scopes import alone
from server.same_sites import why_apart
from server.statistics.sentence import probability


@dataclass(frozen=True)
class Part:
    """One question of the three and the sentence that answers it; ``verdict`` opens it and may be empty."""

    asked: str
    verdict: str
    rest: str

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.verdict}: {self.rest}" if self.verdict else self.rest


def question(results: Results) -> str:
    """What the study asked, in one sentence."""
    sites = f" at {plural(len(results.sites), 'site')}" if results.sites else ""
    organs = listed(sorted({site.organ for site in results.sites.values()}))
    generators = used_generator(results) or listed(results.gans) or "no generator"
    plain = [
        {"copy_paste": "copy-and-paste", "blob": "a plain blob"}[arm] for arm in PLAIN_ARMS if arm in arms(results)
    ]
    more = f", more than {listed(plain, 'or')} would" if plain else ""
    return f"Do synthetic {organs} images from a federated GAN ({generators}) help a tumour classifier{sites}{more}?"


def answer(results: Results) -> list[Part]:
    """Exactly three sentences."""
    return [
        _helps(results),
        Part("Is it the generator?", *_generator(results)),
        Part("How far does it carry, and at what cost?", "", _carries(results)),
    ]


def plain_baselines(results: Results) -> str:
    """A clause on those that the study had; empty if it had none."""
    plain = [_alone(arm).removeprefix("the ") for arm in PLAIN_ARMS if arm in arms(results)]
    what = "are plain baselines that need" if len(plain) > 1 else "is a plain baseline that needs"
    return f"{listed(plain)} {what} no generator" if plain else ""


_WHERE = {FEDERATED: "in federation", SITES: "trained at single sites, on average"}


def _helps(results: Results) -> Part:
    asked = "Do synthetic images help?"
    scope = lead(results)
    gain = gain_of(results, scope, AUGMENTED)
    at_sites = _at_sites(results)
    apart = why_apart(results.apart, AUGMENTED, REAL) if scope == FEDERATED else ""
    if gain is None and apart:
        return Part(asked, "Not compared in federation", f"{apart}; {at_sites}.")
    if gain is None:
        return Part(asked, "Not measured in federation", f"no gain in accuracy is in these results; {at_sites}.")
    comparison = comparison_of(results, scope, AUGMENTED, REAL)
    test = "no test over training sets was made, as that needs a cross-validation"
    if comparison is not None:
        test = (
            f"{_difference(comparison)} on the patients left out of training, by the {comparison.corrected.test} over "
            f"{comparison.corrected.n} {comparison.corrected.counts}, Holm over {_family(comparison)}"
        )
    elif reason := results.not_compared.get(scope) or apart:
        test = f"no test over training sets could be made ({reason})"
    together = gain_of(results, FEDERATED, AUGMENTED) if scope == SITES else None
    whole = f"; the one classifier of all organs changed by {_points(together.accuracy)}" if together else ""
    left = sum((one.arm, one.against) == (AUGMENTED, REAL) for one in results.apart) if apart else 0
    further = f" ({plural(left, 'comparison is', 'comparisons are')} left out: {apart})" if apart else ""
    rest = (
        f"{_WHERE[scope]}, synthetic images changed accuracy by {_points(gain.accuracy)} on the fixed test patients, "
        f"mean over {plural(gain.trials, 'training set')}{further}; {test}; {at_sites}{whole}."
    )
    return Part(asked, _verdict(gain.accuracy, comparison), rest)


def _verdict(gain: Interval, comparison: Comparison | None) -> str:
    """What the interval over test patients and the test over training sets say together."""
    over_patients = side(gain)
    if comparison is None:
        return {1: "On these test patients, yes", -1: "No, they harm", 0: "Not shown"}[over_patients]
    over_sets = found_by_test(comparison)
    if over_patients == over_sets:
        return {1: "Yes", -1: "No, they harm", 0: "Not shown"}[over_sets]
    if over_patients and over_sets:
        return "Contradictory"
    which = "the interval over test patients" if over_patients else "the test over training sets"
    return f"Not settled, only {which} says {'yes' if over_patients + over_sets > 0 else 'no'}"


def _at_sites(results: Results) -> str:
    """The clause on classifiers that were trained at one site alone."""
    if results.privacy is not None and not any(alone(results.arms).values()):
        return "classifiers trained at one site alone are not private, so their gains stayed at the sites"
    sites = sorted({*alone(results.arms), *alone({one.scope: None for one in results.gains})})
    gains = {site: one.accuracy for site in sites if (one := gain_of(results, site, AUGMENTED)) is not None}
    known = {site: gain for site, gain in gains.items() if gain.low is not None}
    if not known:
        return "at single sites no gain with an interval was measured"
    above = [site for site, gain in known.items() if side(gain) > 0]
    below = [site for site, gain in known.items() if side(gain) < 0]
    where = f" ({listed(above)})" if 0 < len(above) < len(sites) else ""
    clause = f"trained at one site alone, the gain's interval lies above zero at {len(above)} of {len(sites)} sites"
    lower = f" and below zero at {len(below)} ({listed(below)})" if below else ""
    untold = (
        f", and is not told at {listed(site for site in sites if site not in known)}" if len(known) < len(sites) else ""
    )
    return f"{clause}{where}{lower}{untold}"


def _generator(results: Results) -> tuple[str, str]:
    plain = [arm for arm in PLAIN_ARMS if arm in arms(results)]
    absent = [arm for arm in (*PLAIN_ARMS, LOCAL) if arm not in arms(results)]
    others = [*plain, *([LOCAL] if LOCAL in arms(results) else [])]
    missing = f"; {listed(map(_alone, absent))} {'was' if len(absent) == 1 else 'were'} not measured" if absent else ""
    if not others:
        return "Not measured", f"the study had no arm to set beside the generator's{missing}."
    scope = lead(results)
    reasons = [why_apart(results.apart, AUGMENTED, arm) for arm in others] if scope == FEDERATED else []
    missing += "".join(f"; {reason}" for reason in dict.fromkeys(reasons) if reason)
    tests = {arm: found for arm in others if (found := comparison_of(results, scope, AUGMENTED, arm)) is not None}
    if set(tests) == set(others):
        differences = listed(f"{_difference(found)} from {arm_title(arm)}" for arm, found in tests.items())
        corrected = next(iter(tests.values())).corrected
        counts = sorted({found.corrected.n for found in tests.values()})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        sides = {arm: found_by_test(found) for arm, found in tests.items()}
        means = {arm: found.corrected.mean or 0.0 for arm, found in tests.items()}
        return _beaten(sides, means, plain), (
            f"{_WHERE[scope]}, real + synthetic differs by {differences} ({corrected.test} over {n} "
            f"{corrected.counts}, Holm over {_family(next(iter(tests.values())))}){missing}."
        )
    own = gain_of(results, scope, AUGMENTED)
    gains = {arm: gain for arm in others if (gain := gain_of(results, scope, arm)) is not None}
    if own is None or not gains:
        return (
            "Not compared" if any(reasons) else "Not measured",
            f"{_WHERE[scope]}, no gain stands beside that of {listed(map(arm_title, others))}{missing}.",
        )
    words = {"higher": 1, "lower": -1}
    sides = {arm: words.get(compared(own.accuracy, gain.accuracy), 0) for arm, gain in gains.items()}
    beside = listed(f"{_points(gain.accuracy)} with {arm_title(arm)}" for arm, gain in gains.items())
    means = {arm: (own.accuracy.value or 0.0) - (gain.accuracy.value or 0.0) for arm, gain in gains.items()}
    return _beaten(sides, means, plain), (
        f"{_WHERE[scope]}, accuracy changed by {_points(own.accuracy)} with real + synthetic, "
        f"and by {beside}, over real only; a test between them was not made{missing}."
    )


def _beaten(sides: Mapping[str, int], means: Mapping[str, float], plain: Sequence[str]) -> str:
    """The lead of the second sentence.

    Args:
        sides: by arm, whether real + synthetic was shown to be better (1) or worse (-1), or neither.
        means: by arm, how much higher the mean accuracy of real + synthetic was.
        plain: arms that need no generator, in the order of the study.
    """
    known = [arm for arm in plain if arm in sides]
    if not known:
        return "Not measured against a plain baseline"
    worse = [arm for arm in known if sides[arm] < 0]
    if worse:
        return f"No, {listed(map(_alone, worse))} did better than the generator"
    rest = [arm for arm in known if sides[arm] == 0]
    if not rest:
        return f"Yes, it did better than {listed(map(_alone, known))}"
    needs = "needs" if len(rest) == 1 else "need"
    level = [arm for arm in rest if means[arm] <= 0]
    as_well = f", and {listed(map(_alone, level))} did as well or better on average" if level else ""
    return f"Not shown to do better than {listed(map(_alone, rest), 'or')}, which {needs} no generator{as_well}"


def _alone(arm: str) -> str:
    return {"copy_paste": "copy-paste", "blob": "the blob", LOCAL: "a local generator"}.get(arm, arm_title(arm))


def _carries(results: Results) -> str:
    outside, only = gain_of(results, EXTERNAL, AUGMENTED), gain_of(results, lead(results), SYNTHETIC)
    away = (
        f"On patients of external centres the gain in accuracy was {_points(outside.accuracy)}"
        if outside
        else "A gain on patients of external centres was not measured"
    )
    instead = (
        f"classifiers trained on synthetic images only were {_points(only.accuracy)} from those trained on real ones"
        if only
        else "training on synthetic images only was not measured"
    )
    return f"{away}; {instead}; {_cost(results)}."


def _cost(results: Results) -> str:
    """The privacy that the study cost; without any promise of it, how alike the generator's images are."""
    if results.privacy is not None:
        if not results.privacy.sites:
            return "no site stated what this cost its patients in privacy"
        site, worst = max(results.privacy.sites.items(), key=lambda item: item[1].epsilon)
        return (
            f"all trainings together cost a site's patients an epsilon of at most {epsilon_text(worst.epsilon)} "
            f"({site}) at delta {delta_text(worst.delta)}"
        )
    name = used_generator(results)
    found = over_runs(results.gans[name]) if name else {}
    if not found:
        return "there was no differential privacy, and the generator's likeness was not measured"
    told: set[str] = set()
    parts = []
    for subject, one in found.items():
        # Of several organs the first says what is compared.
        about = "" if one.similarity in told else f" ({one.similarity})"
        told.add(one.similarity)
        parts.append(
            f"SSIM {_spread(one.ssim.mean, one.ssim.deviation, SIMILARITY.number)}, PSNR "
            f"{_spread(one.psnr.mean, one.psnr.deviation, DECIBEL.number)} dB{about} and {one.name} "
            f"{significant(one.frechet.mean)} (real {significant(one.floor.mean)}, n {one.n}) over "
            f"{plural(one.ssim.runs, 'run')}" + (f" for {subject}" if len(found) > 1 else "")
        )
    figures = listed(parts)
    return f"there was no differential privacy, and {name} reached {figures}"


def _spread(mean: float, deviation: float | None, written: Callable[[float], str]) -> str:
    return written(mean) + (f" ± {written(deviation)}" if deviation is not None else "")


def _family(comparison: Comparison) -> str:
    return plural(comparison.corrected_holm.family if comparison.corrected_holm else 0, "comparison")


def _points(gain: Interval) -> str:
    if gain.low is None or gain.high is None:
        return f"{POINTS.text(gain.value)} (no interval)"
    return f"{POINTS.text(gain.value)} (95% interval {POINTS.bounds(gain)})"


def _difference(comparison: Comparison) -> str:
    """Mean, interval, p and adjusted p of the corrected test."""
    found = comparison.corrected
    adjusted = probability(comparison.corrected_holm.p) if comparison.corrected_holm else MISSING
    p = probability(found.p) if found.p is not None else MISSING
    return (
        f"{POINTS.text(found.mean)} ({POINTS.number(found.low)} to {POINTS.number(found.high)}; p {p}, "
        f"adjusted {adjusted.removeprefix('= ')})"
    )
