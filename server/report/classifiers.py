"""The classifiers on the fixed split: all scopes in one table, then each scope by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.report.arms import (
    ConfusionTable,
    arm_title,
    arms_charts,
    arms_table,
    confusion_tables,
    in_order,
)
from common.report.charts import Chart
from common.report.figures import figure_cell
from common.report.tables import Table, word
from common.results.classifier import CENTRALISED, EXTERNAL, FEDERATED
from common.results.study import Results
from server.report.scopes import arms_scopes, heading, titled


@dataclass(frozen=True)
class ArmsPart:
    """The arms in one scope: accuracy and AUC as charts, every score, and the confusion matrices."""

    title: str
    charts: Sequence[Chart]
    table: Table
    confusions: Sequence[ConfusionTable]


def arms_parts(results: Results) -> list[ArmsPart]:
    """Federation first, then the others; empty if no arm was scored."""
    scopes = arms_scopes(results)
    sets = arms_charts({titled(results, scope): scores for scope, scores in scopes.items()})
    return [
        ArmsPart(
            title=heading(titled(results, scope)),
            charts=[
                replace(panel, title=one.title)
                for one in sets
                for panel in one.panels
                if panel.title == titled(results, scope)
            ],
            table=arms_table(_caption(scope), scores),
            confusions=confusion_tables(scores),
        )
        for scope, scores in scopes.items()
    ]


def summary(results: Results) -> Table | None:
    """Accuracy of each arm in every scope; None if no arm was scored."""
    scopes = arms_scopes(results)
    if not scopes:
        return None
    arms = dict.fromkeys(arm for scores in scopes.values() for arm, _ in in_order(scores))
    rows = [
        [
            word(arm_title(arm)),
            *(figure_cell(scores[arm].get("accuracy") if arm in scores else None) for scores in scopes.values()),
        ]
        for arm in arms
    ]
    return Table(
        "Accuracy on the test patients of the fixed split, by the images and by where the classifier was trained: mean "
        "with 95% interval over patients.",
        ["arm", *(titled(results, scope) for scope in scopes)],
        rows,
    )


def _caption(scope: str) -> str:
    organ = scope.removeprefix(FEDERATED).removeprefix("/")
    subject = (
        f"Classifiers trained in federation over all organs, scored on the test patients of the sites with {organ} "
        "images that trained them, mean over sites"
        if organ and scope.startswith(FEDERATED)
        else "Classifiers trained in federation, scored on the test patients of the sites that trained them, mean over "
        "sites"
        if scope == FEDERATED
        else "Classifiers trained on the slices of all sites in one place, as only a simulation can, scored on the "
        "test patients of these sites, mean over sites"
        if scope == CENTRALISED
        else "Classifiers trained in federation, scored on the patients of external centres, mean over centres"
        if scope == EXTERNAL
        else f"Classifiers trained at {scope} alone, scored on its test patients"
    )
    return (
        f"{subject}. With 95% interval, bootstrapped over patients; slices at probability 0.5; steps of the optimiser."
    )
