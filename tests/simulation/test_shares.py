"""One site that does not declare its counts: every average of the study counts all alike, and says so everywhere."""

from pathlib import Path

import pytest
from tiny import TinyStudy

from common.results.study import Results
from simulation.run import run

SITES = ("hospital1", "hospital2", "hospital3")
TOLD = "hospital1 33.3%, hospital2 33.3%, hospital3 33.3%"


def test_all_averages_count_all_sites_alike_in_results_report_and_terminal(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("study.arms=[real,real_synthetic]", "federation.rounds=1", "classifier.federation.rounds=1")
    folds = ("study.folds=2", "study.min_cell=2", "site.hospital2.declare_counts=false")
    folder = run(tiny_study.with_output(tmp_path, *short, *folds))
    results = Results.model_validate_json((folder / "results.json").read_text())
    assert results.sites["hospital1"].slices is not None
    assert results.sites["hospital2"].slices is None
    first, *in_folds = results.trials
    averages = [results.gans["cgan"].runs[0].shares, *(trial.generator_shares for trial in in_folds)]
    averages += [trial.shares[arm] for trial in (first, *in_folds) for arm in ("real", "real_synthetic")]
    assert len(averages) == 1 + 2 + 3 * 2
    for shares in averages:
        assert [one.sites for one in shares] == [pytest.approx(dict.fromkeys(SITES, 1 / 3))]
    assert {plan.weighted_by for plan in results.plan} == {"sites"}
    said = capsys.readouterr().out
    assert "because hospital2 declares no counts (declare_counts)" in said
    trained = ["gan/cgan", "classifier/real", "classifier/real_synthetic"]
    for phase in [*trained, *(f"{one}/fold-{fold}" for one in trained for fold in (1, 2))]:
        assert f"{phase}: shares in the average: {TOLD}" in said
    page = (folder / "report" / "index.html").read_text()
    assert page.count(TOLD) >= len(trained)
