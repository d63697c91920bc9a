"""A reliability diagram shows the bins that are told, against the diagonal."""

from xml.etree import ElementTree

from classifier_scores import classifier_scores

from client.report.reliability import reliability_charts
from common.results.classifier import ClassifierScores, ReliabilityBin


def arm(curve: list[tuple[float, float]] | None) -> ClassifierScores:
    bins = None if curve is None else [ReliabilityBin(predicted=x, positive=y, slices=30, patients=9) for x, y in curve]
    return classifier_scores(accuracy=0.5, calibration_error=0.1, reliability=bins)


def test_bins_lie_where_their_figures_say() -> None:
    (chart,) = reliability_charts({"real": arm([(0.25, 0.5), (0.75, 0.75)]), "blob": arm(None), "synthetic": arm([])})
    assert chart.title == "real only"
    svg = ElementTree.fromstring(str(chart.svg))
    lines = {e.get("class"): e.get("points", "") for e in svg.iter("polyline")}

    def ends(style: str) -> list[tuple[float, ...]]:
        return [tuple(map(float, pair.split(","))) for pair in lines[f"line {style}"].split()]

    (x0, y0), (x1, y1) = ends("floor")
    (ax, ay), (bx, by) = ends("s1")
    assert (ax - x0) / (x1 - x0) == (0.25)
    assert round((ay - y0) / (y1 - y0), 3) == 0.5
    # The second bin lies on the diagonal.
    assert round((bx - x0) / (x1 - x0), 3) == round((by - y0) / (y1 - y0), 3) == 0.75
    labels = [e.text for e in svg.iter("text")]
    assert {"0.25", "0.5", "0.75", "mean probability of a tumour"} <= set(labels)
    assert "0.25: 0.500, 0.75: 0.750" in (svg.get("aria-label") or "")
