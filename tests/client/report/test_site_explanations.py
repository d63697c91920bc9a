"""The page shows what was found about the classifiers, says what each picture does not show, and survives gaps."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.report.build import build_site_report

Write = Callable[..., Path]


def section(page: Path) -> str:
    text = page.read_text()
    return text[text.index('<h2 id="explanations">') : text.index('<h2 id="cross-site">')]


def words(page: Path) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", section(page)))).replace("\N{NO-BREAK SPACE}", " ")


def test_every_part_is_there_with_its_figures(write_site: Write) -> None:
    page = build_site_report(write_site())
    told = words(page)
    for said in (
        "62.0 %",
        "+45.0 percentage points",
        "about 8 pixels wide, so lesions are widened by 4 pixels",
        "Tumour, missed, p = 0.110: case-002, slice 11",
        "Healthy, called tumour, p = 0.830",
        "real, tumour (n = 30)",
        "synthetic, healthy (n = 30)",
        "first component, 41.0 % of the variance",
        "t-SNE, perplexity 30",
        "only neighbourhoods mean something",
        "0.710",
        "8.0 %",
        "+1.0 percentage points",
        "classifier trained on real slices is surest of",
        "windows of 24 pixels a side",
        "would not be found",
    ):
        assert said in told, said
    text = section(page)
    assert text.count("<img ") == 1 + 2 * 6 * 2 + 3 + 2 * 2
    assert text.count('role="img"') == 4
    assert "<script" not in text


def test_the_same_figures_are_in_the_json(write_site: Write) -> None:
    site = write_site()
    figures = json.loads((build_site_report(site).parent / "results.json").read_text())
    kept = json.loads((site / "results" / "explanations" / "real.json").read_text())
    assert len(kept["figures"]) == 8
    assert kept == figures["explanations"]["real"]
    similarity = np.load(site / "results" / "explanations" / "nearest.npz")["all_ssim"]
    assert figures["nearest"]["synthetic"]["median"] == pytest.approx(np.median(similarity))


def test_an_old_run_has_none_and_the_page_says_so(write_site: Write) -> None:
    site = write_site(without=("explanations",))
    assert "There is no explanations folder" in words(build_site_report(site))
    evaluator = json.loads((site / "results" / "summary.json").read_text()) | {"roles": ["evaluate"]}
    (site / "results" / "summary.json").write_text(json.dumps(evaluator))
    assert "trains nothing" in words(build_site_report(site))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("real.json", b"{"),
        ("real.npz", b"PK half a file"),
        ("real.json", b'{"figures": [{"metric": "attention", "value": 7}]}'),
        ("nearest.npz", b""),
    ],
)
def test_a_damaged_file_leaves_the_others(file: str, content: bytes, write_site: Write) -> None:
    site = write_site()
    (site / "results" / "explanations" / file).write_bytes(content)
    told = words(build_site_report(site))
    assert f"explanations/{file.partition('.')[0]} could not be read" in told
    assert "Trained on: real + synthetic" in told


def test_arrays_that_do_not_belong_together_are_named(write_site: Write) -> None:
    site = write_site()
    path = site / "results" / "explanations" / "real.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"attention_maps": arrays["attention_maps"][:2]})
    assert "differ in length" in words(build_site_report(site))
    del arrays["attention_maps"]
    np.savez(path, **arrays)
    assert "attention_maps missing" in words(build_site_report(site))


def test_figures_alone_make_tables_alone(write_site: Write) -> None:
    site = write_site()
    for arm in ("real", "real_synthetic"):
        np.savez(site / "results" / "explanations" / f"{arm}.npz", nothing=np.zeros(1))
    (site / "results" / "explanations" / "nearest.npz").unlink()
    page = build_site_report(site)
    assert "62.0 %" in words(page)
    assert "<img " not in section(page)
    assert 'role="img"' not in section(page)


def test_names_of_patients_are_text(write_site: Write) -> None:
    site = write_site()
    path = site / "results" / "explanations" / "real.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"attention_patient": np.array(["<script>x</script>"] * 6)})
    assert "<script" not in build_site_report(site).read_text()
