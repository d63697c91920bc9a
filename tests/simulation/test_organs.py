"""A study over two organs, with sites that share a data set and sites that cannot take part in everything."""

from pathlib import Path

import pytest
from tiny import TinyStudy, write_patient
from tiny_images import write_image_site

from common.results.study import Results
from simulation.run import run

LIVER = "{reader: image_folder, organ: liver, path: %s, options: {tumour_classes: [tumour], hu_range: [-100, 250]}%s}"
QUICK = (
    "federation.rounds=1",
    "classifier.federation.rounds=1",
    "study.arms=[real,real_synthetic]",
    "organs.liver.min_tumour_pixels=4",
    "organs.liver.steps={crop: foreground, median: 0, equalise: false}",
    "study.min_cell=2",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_study: TinyStudy) -> Path:
    root = tmp_path_factory.mktemp("organs")
    for part, seed in (("pretraining", 71), ("selection", 72), ("final", 73)):
        write_image_site(root / "reference" / part, 4, seed=seed)
    for number in range(10):
        write_patient(root / "maskless", f"case-{number}", tumour=True, seed=number)
        (root / "maskless" / f"case-{number}" / f"case-{number}_seg.nii.gz").unlink()
    liver = LIVER % (write_image_site(root / "liver", 10, seed=1), "")
    one_class = LIVER % (write_image_site(root / "one_class", 8, seed=2, classes="tumour"), "")
    nameless = LIVER % (write_image_site(root / "nameless", 4, seed=3, named=False), "")
    shared = LIVER % (write_image_site(root / "shared", 16, seed=4), ", sites: 2")
    return run(
        tiny_study.with_output(
            root,
            *QUICK,
            f"+site.liver={liver}",
            f"+site.one_class={one_class}",
            f"+site.nameless={nameless}",
            f"+site.maskless={{reader: brats, organ: brain, path: {root / 'maskless'}}}",
            f"+partition.shared={shared}",
            f"+reference.liver={LIVER.replace(', organ: liver', '') % (root / 'reference', '')}",
        )
    )


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.model_validate_json((finished / "report" / "results.json").read_text())


def test_each_organ_is_scored_on_its_own_reference_set(results: Results) -> None:
    gan = results.gans["cgan"]
    assert set(gan.rounds[0].scores) == set(gan.final) == {"brain", "liver"}
    assert gan.rounds[0].scores["brain"] != gan.rounds[0].scores["liver"]


def test_one_generator_learns_from_all_organs(results: Results) -> None:
    contributors = set(results.gans["cgan"].rounds[0].contributors)
    assert {"hospital1", "hospital2", "liver", "nameless", "shared-1", "shared-2"} <= contributors


def test_the_federated_classifiers_are_scored_by_organ_too(results: Results) -> None:
    assert set(results.organ_arms) == {"brain", "liver"}
    brain = [results.arms[site]["real"].patients for site in ("hospital1", "hospital2", "hospital3")]
    assert results.organ_arms["brain"]["real"].patients == sum(n for n in brain if n is not None)


def test_sites_that_share_a_data_set_have_different_patients_of_it(finished: Path) -> None:
    shares = [
        set((finished / "sites" / name / "patients.txt").read_text().split()) for name in ("shared-1", "shared-2")
    ]
    assert [len(share) for share in shares] == [8, 8]
    assert not shares[0] & shares[1]


def test_a_site_without_masks_says_so_and_the_study_goes_on_without_it(results: Results) -> None:
    assert results.sites["maskless"].notes == [
        "takes part in nothing: its studies have neither tumour masks nor classes"
    ]
    assert "maskless" not in results.gans["cgan"].rounds[0].contributors
    assert "maskless" not in results.arms


def test_a_site_with_one_class_says_so_and_only_evaluates(results: Results) -> None:
    notes = " ".join(results.sites["one_class"].notes)
    assert "trains nothing: its training patients do not hold both classes" in notes
    assert "one class only" in notes
    assert "one_class" not in results.gans["cgan"].rounds[0].contributors
    assert results.cross_site is not None
    assert "one_class" in results.cross_site.sites


def test_images_without_patients_are_told_loudly(results: Results) -> None:
    assert "its images name no patients: its split and its intervals are by image, not by patient" in (
        results.sites["nameless"].notes
    )


def test_the_study_report_shows_each_organ(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text()
    for words in (
        ">Brain</h4>",
        ">Liver</h4>",
        "In federation, brain",
        "In federation, liver",
        "By organ",
    ):
        assert words in page
