"""The forest plot and the strip of pictures show what the results and the galleries hold."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from fabricated_generators import gallery

from common.figures.formatting import AUC
from common.results.classifier import PooledGain
from common.results.study import Results
from server.report.forest import MOST, PLAIN_POINTS, forest, left_out
from server.report.gallery import reference_gallery
from server.report.strip import rule_in_words, strip


def drawn(results: Results) -> ElementTree.Element:
    chart = forest(results)
    assert chart is not None
    return ElementTree.fromstring(str(chart.svg))


def share(text: str | None) -> float:
    assert text is not None
    assert text.endswith("%")
    return float(text[:-1])


def test_every_gain_is_a_mark_in_its_place_with_its_value(study: Results) -> None:
    svg = drawn(study)
    points = [group for group in svg.iter("g") if group.get("class") == "point"]
    assert len(points) == len(study.gains) == 30
    level = next(line for line in svg.iter("line") if line.get("class") == "level")
    for group in points:
        title, mark = group.findtext("title") or "", group.find("svg")
        assert mark is not None
        mean = float(re.findall(r": (\S+) \(", title)[0].replace("\N{MINUS SIGN}", "-"))
        assert (share(mark.get("x")) > share(level.get("x1"))) == (mean > 0)
        whisker = group.find("line")
        assert whisker is not None
        assert share(whisker.get("x1")) < share(mark.get("x")) < share(whisker.get("x2"))
    one = study.gains[0]
    assert PLAIN_POINTS.interval(one.accuracy) in (svg.get("aria-label") or "")


def test_sites_that_do_not_fit_are_counted_and_the_federation_stays(study: Results) -> None:
    own = study.model_copy(deep=True)
    gain = own.gains[0]
    own.gains += [PooledGain(**(gain.model_dump() | {"scope": f"site{i:02}"})) for i in range(20)]
    assert left_out(study) == 0
    assert left_out(own) == 6 + 20 - MOST
    names = [text.text for text in drawn(own).iter("text") if text.get("class") == "name"]
    assert len(names) == MOST
    assert names[0] == "in federation"


def test_no_gain_gives_no_plot(results: Results) -> None:
    assert forest(results) is None


def test_the_strip_holds_the_best_the_median_and_the_worst_by_the_rule_it_names(tmp_path: Path) -> None:
    found = {}
    for kind in ("paired", "nearest", "cycle"):
        np.savez_compressed(tmp_path / f"{kind}.npz", allow_pickle=False, **gallery(kind, "brain"))
        one = reference_gallery(tmp_path / f"{kind}.npz")
        assert one is not None
        found[kind] = [one]
    columns = strip(found)
    assert [(one.gan, one.truth, one.followed) for one in columns] == [
        ("paired", "real", "generated"),
        ("nearest", "nearest real", "generated"),
        ("cycle", "real target", "translated"),
    ]
    for column in columns:
        assert [row.rule for row in column.rows] == ["best", "median", "worst"]
        similar = gallery(column.gan, "brain")["figures"][:, -1 if column.gan == "nearest" else 0]
        for row, value in zip(column.rows, similar, strict=False):
            assert AUC.number(float(value)) in row.title
            assert len(row.pictures) == 2
            assert row.pictures[0].source != row.pictures[1].source
            assert row.pictures[0].alt == f"{column.gan}, brain, {row.rule} slice: {column.truth}"
    words = rule_in_words(found)
    assert words == "lesion SSIM (paired), SSIM to the nearest (nearest) and SSIM of the foreground (cycle)"


def test_a_gallery_without_pairs_is_left_out(tmp_path: Path) -> None:
    arrays = gallery("paired", "brain")
    np.savez_compressed(tmp_path / "one.npz", allow_pickle=False, **(arrays | {"rule": np.array(["chosen"] * 8)}))
    one = reference_gallery(tmp_path / "one.npz")
    assert one is not None
    assert strip({"cgan": [one]}) == []
