"""Poisson draws of patients: who is drawn, how much each brings, and that labels have no say in it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from private_trainers import SIZE, cohort

from client.privacy.patients import PoissonPatients
from client.privacy.randomness import KEY_BYTES, PrivateRandom
from common.imaging.slices import PatientSlices, Slices
from common.training.patients import PatientDraw


def draws_of(
    sources: list[Slices], *, rate: float = 1.0, k: int = 4, seed: int | None = None
) -> tuple[PoissonPatients, list[PatientDraw]]:
    seen: list[PatientDraw] = []

    def make(draw: PatientDraw, generator: torch.Generator) -> PatientDraw:
        seen.append(draw)
        return draw

    random = PrivateRandom(None if seed is None else bytes([seed] * KEY_BYTES))
    return PoissonPatients(sources, rate=rate, slices=k, make=make, random=random), seen


def test_each_patient_takes_part_with_the_stated_probability_and_by_itself() -> None:
    patients, _ = draws_of([cohort([1] * 10)], rate=0.2, k=1)
    counts = np.array([len(patients.draw()) for _ in range(3000)])
    assert counts.mean() == pytest.approx(2.0, abs=4 * math.sqrt(1.6 / 3000))
    assert counts.var() == pytest.approx(1.6, rel=0.15)  # binomial; of batches of fixed size it would be 0
    empty = float((counts == 0).mean())
    assert empty == pytest.approx(0.8**10, abs=0.03)
    assert counts.max() >= 6


def test_there_may_be_nobody_and_everybody() -> None:
    nobody, _ = draws_of([cohort([2, 2])], rate=1e-9)
    assert nobody.draw() == []
    everybody, _ = draws_of([cohort([2, 2, 2])], rate=1.0)
    assert len(everybody.draw()) == 3


def test_draws_are_independent_of_each_other() -> None:
    """Two optimisers of one training step draw anew; one draw for both would not compose as it is charged."""
    patients, seen = draws_of([cohort([1] * 8)], rate=0.5, k=1)
    together = 0
    for _ in range(600):
        seen.clear()
        pair = [{float(d.batch.slices.images.sum()) for d in patients.draw()} for _ in range(2)]
        together += len(pair[0] & pair[1])
    assert together / (600 * 8) == pytest.approx(0.25, abs=0.03)


def test_a_patient_brings_k_slices_however_many_there_are() -> None:
    patients, seen = draws_of([cohort([100, 5, 1])], k=4)
    patients.draw()
    assert [len(draw.slices) for draw in seen] == [4, 4, 4]


def test_with_two_sources_each_gives_its_part_and_a_missing_one_is_made_up_for() -> None:
    real, made = cohort([6, 6, 6]), cohort([3, 0, 3])
    made = Slices(made.organ, made.contrasts, [replace(p, images=p.images * 0) for p in made.patients], 4)
    patients, seen = draws_of([real, made], k=4)
    patients.draw()
    empty = [int((draw.slices.images.flatten(1).sum(1) == 0).sum()) for draw in seen]
    assert empty == [2, 0, 2]
    assert [len(draw.slices) for draw in seen] == [4, 4, 4]


def test_a_patient_without_a_slice_adds_nothing() -> None:
    patients, seen = draws_of([cohort([3, 0, 3])], k=2)
    assert len(patients.draw()) == 2
    assert len(seen) == 2


def test_which_slices_are_drawn_does_not_depend_on_their_labels() -> None:
    """The same chance gives the same slices, whatever the labels say."""
    healthy = cohort([20] * 4)
    relabelled = Slices(
        healthy.organ,
        healthy.contrasts,
        [
            replace(p, labels=np.full_like(p.labels, 4), tumour_slices=np.ones(len(p.images), bool))
            for p in healthy.patients
        ],
        4,
    )
    chosen = []
    for source in (healthy, relabelled):
        patients, seen = draws_of([source], rate=0.5, k=3, seed=9)
        for _ in range(20):
            patients.draw()
        chosen.append([draw.slices.images for draw in seen])
    assert len(chosen[0]) > 20
    assert all(torch.equal(a, b) for a, b in zip(*chosen, strict=True))


def test_slices_of_one_patient_are_never_mixed_with_anothers() -> None:
    marked = [
        PatientSlices(
            f"p{index}",
            np.full((4, 1, SIZE, SIZE), index / 10, np.float16),
            np.zeros((4, SIZE, SIZE), np.uint8),
            np.ones((4, SIZE, SIZE), np.uint8),
        )
        for index in range(1, 8)
    ]
    patients, seen = draws_of([Slices("brain", ("t1",), marked, 4)], rate=0.7, k=5)
    for _ in range(20):
        patients.draw()
    assert len(seen) > 20
    assert all(len(draw.slices.images.unique()) == 1 for draw in seen)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        draws_of([cohort([1])], rate=rate)


def test_what_a_patient_meets_does_not_depend_on_who_else_is_there() -> None:
    """With the same key, a patient is drawn in the same steps, with the same slices and chance, alone or among many."""
    whole = cohort([6] * 9)
    alone = Slices(whole.organ, whole.contrasts, [whole.patients[4]], whole.min_tumour_pixels)
    met = []
    for source, place in ((whole, 4), (alone, 0)):
        patients, _ = draws_of([source], rate=0.4, k=3, seed=3)
        own = [(step, d) for step in range(60) for d in patients.draw() if int(d.batch.slices.patients[0]) == place]
        met.append([(step, d.chance, d.batch.slices.images) for step, d in own])
    assert len(met[0]) > 10
    assert [(step, chance) for step, chance, _ in met[0]] == [(step, chance) for step, chance, _ in met[1]]
    assert all(torch.equal(a[2], b[2]) for a, b in zip(*met, strict=True))


def test_a_patient_of_whom_no_example_can_be_made_adds_nothing_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure would tell the coordinator, who chose the study, that somebody like that is here."""

    def make(draw: PatientDraw, generator: torch.Generator) -> PatientDraw:
        if int(draw.slices.patients[0]) == 1:
            raise ValueError("no place for a lesion")
        return draw

    patients = PoissonPatients([cohort([3, 3, 3])], rate=1.0, slices=2, make=make, random=PrivateRandom())
    assert len(patients.draw()) == 2
    assert "adds nothing" in caplog.text


@pytest.mark.parametrize("k", [1, 2, 3])
def test_slices_that_two_sources_cannot_share_evenly_come_from_both_over_the_draws(k: int) -> None:
    real, made = cohort([6] * 20), cohort([6] * 20)
    made = Slices(made.organ, made.contrasts, [replace(p, images=p.images * 0) for p in made.patients], 4)
    patients, seen = draws_of([real, made], k=k, seed=3)
    for _ in range(20):
        patients.draw()
    of_made = [int((draw.slices.images.flatten(1).sum(1) == 0).sum()) for draw in seen]
    assert {len(draw.slices) for draw in seen} == {k}
    assert set(of_made) == {k // 2, (k + 1) // 2}
    assert np.mean(of_made) / k == pytest.approx(0.5, abs=0.1 / k)
