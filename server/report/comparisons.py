"""The statistics of the study: arm against arm over run-folds, each probability with its test and its n."""

from dataclasses import dataclass

from common.figures.formatting import AUC, POINTS, RATIO, Scale, plural
from common.report.arms import arm_title
from common.report.tables import Cell, Table, number, word
from common.results.classifier import FEDERATED
from common.results.statistics import ComparisonTable, Holm, PairedTest
from common.results.study import Results
from server.report.scopes import heading, ordered, titled
from server.statistics.sentence import comparison_told, probability

SCORES: dict[str, tuple[str, Scale]] = {"accuracy": ("accuracy", POINTS), "auc": ("AUC", AUC.signed)}


@dataclass(frozen=True)
class ComparedScope:
    """The comparisons of classifiers that were trained in one way."""

    title: str
    sentence: str
    tables: list[Table]
    undefined: list[str]


def compared_scopes(results: Results) -> list[ComparedScope]:
    """Federation first; empty without a cross-validation."""
    return [
        ComparedScope(
            title=heading(titled(results, scope)),
            sentence=_main(results.comparisons[scope]),
            tables=[_table(one) for one in results.comparisons[scope] if one.comparisons],
            undefined=_undefined(results.comparisons[scope]),
        )
        for scope in ordered(results.comparisons)
    ]


def not_compared(results: Results) -> list[str]:
    """Why a scope has no tests, a line each."""
    return [f"{titled(results, scope)}: {results.not_compared[scope]}" for scope in ordered(results.not_compared)]


def lead(results: Results) -> str:
    """The comparison that the study was made for, in one sentence; empty without one."""
    main = _main(results.comparisons.get(FEDERATED, []))
    return f"In federation, {main[0].lower()}{main[1:]}" if main else ""


def _main(tables: list[ComparisonTable]) -> str:
    for table in tables:
        for one in table.comparisons:
            if (table.score, one.arm, one.against) == ("accuracy", "real_synthetic", "real"):
                return f"Accuracy of {comparison_told(one, POINTS)}."
    return ""


def _table(table: ComparisonTable) -> Table:
    title, scale = SCORES.get(table.score, (table.score, AUC.signed))
    unit = ", percentage points" if scale is POINTS else ""
    plain = Scale(scale.factor, scale.decimals, sign=True)
    rows = [
        [
            word(f"{arm_title(one.arm)} − {arm_title(one.against)}"),
            _mean(one.corrected, plain),
            _probability(one.corrected),
            _adjusted(one.corrected_holm),
            _probability(one.plain),
            _adjusted(one.plain_holm),
            number(RATIO.number(one.difference.g_z)),
            number(one.corrected.n),
        ]
        for one in table.comparisons
    ]
    counts = sorted({one.corrected.counts for one in table.comparisons})
    family = max((one.corrected_holm.family for one in table.comparisons if one.corrected_holm), default=0)
    repeats = f"{plural(table.runs, 'run')}, {plural(table.folds, 'fold')}"
    caption = (
        f"{title[0].upper()}{title[1:]}{unit}: mean difference over n {counts[0]} ({repeats}), below it the 95% "
        "interval of the corrected resampled t-test (Nadeau and Bengio), which is the one to go by; the paired t-test "
        "is the source study's and does not know that folds share training patients. Holm: adjusted over the "
        f"{family} comparisons of this table. g_z: the mean over its standard deviation, unbiased."
    )
    return Table(
        caption,
        [f"difference in {title}", "mean", "p", "Holm", "p", "Holm", "g_z", "n"],
        rows,
        groups=[("", 2), ("corrected resampled t-test", 2), ("paired t-test", 2), ("", 2)],
    )


def _mean(test: PairedTest, scale: Scale) -> Cell:
    if test.mean is None:
        return number(None)
    bounds = f"({scale.number(test.low)} to {scale.number(test.high)})" if test.low is not None else "(no interval)"
    return Cell(scale.number(test.mean), bounds, "number")


def _probability(test: PairedTest) -> Cell:
    return number(None if test.p is None else probability(test.p).removeprefix("= "))


def _adjusted(found: Holm | None) -> Cell:
    return number(None if found is None else probability(found.p).removeprefix("= "))


def _undefined(tables: list[ComparisonTable]) -> list[str]:
    """Why a dash stands in place of a probability or an effect size, each reason once."""
    reasons: dict[str, None] = {}
    for table in tables:
        for one in table.comparisons:
            if one.corrected.undefined:
                reasons[f"no p-value: {one.corrected.undefined}"] = None
            if one.difference.undefined:
                reasons[f"no g_z: {one.difference.undefined}"] = None
    return list(reasons)
