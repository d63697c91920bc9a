"""The whole way: provisioning, enrolment, three nodes, a study over TLS, reports; and the same study in one process."""

import json

import pytest
import torch
from running_federation import STUDY, RunningFederation, weights

pytestmark = [pytest.mark.slow]


def test_three_hospitals_train_what_one_process_trains(three: RunningFederation) -> None:
    reference = three.reference()
    shown = three.command(
        "server", "run", three.file, *STUDY, f"reference.brain.path={reference}", "name=study", seconds=900
    )
    run = three.root / "runs" / "study"
    assert f"report: {run}/report/index.html" in shown
    assert "gan/cgan, round 2 of 2: hospital1, hospital2, hospital3" in shown
    page = (run / "report" / "index.html").read_text()
    assert "All 3 training sites (hospital1, hospital2, hospital3) contributed to each of 2 rounds" in page

    status = json.loads(three.command("server", "status", three.file, "--json"))
    assert status["serving"]
    assert all(site["connected"] for site in status["sites"].values())
    assert status["studies"][-1]["where"] == "finished"
    for site in three.sites:
        own = json.loads(three.command("client", "status", f"{site}/site.yaml", "--json"))
        assert own["running"]
        assert own["record"]["sound"]
        assert [study["run"] for study in own["studies"]] == ["study"]
        assert own["studies"][0]["failed"] == own["studies"][0]["refused"] == 0
        assert "The chain is whole" in three.command("client", "audit", f"{site}/site.yaml")
        assert "well" in three.command("client", "health", f"{site}/site.yaml")
        assert "report:" in three.command("client", "report", f"{site}/runs/study")
        assert (three.root / site / "runs" / "study" / "report" / "index.html").exists()
    assert "proxy      well" in three.command("server", "health", three.file)

    three.command(
        "simulation",
        "run",
        *STUDY,
        "site=none",
        *(f"+site.{site}={{reader:brats,organ:brain,path:{three.root}/data/{site}}}" for site in three.sites),
        f"reference.brain.path={reference}",
        "name=study",
        "simulation.threads=1",
        "simulation.runs_dir=simulated",
        seconds=300,
    )
    network, process = weights(run), weights(three.root / "simulated" / "study")
    assert set(network) == set(process)
    assert len(network) >= 2
    for file, trained in network.items():
        assert set(trained) == set(process[file])
        for key, value in trained.items():
            assert torch.equal(value, process[file][key]), (file, key)
