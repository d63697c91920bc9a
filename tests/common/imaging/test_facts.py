from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import brain, patient_of

from common.imaging.facts import PERCENTILES, StudyFacts


def digest_of(images: np.ndarray, **changes) -> str:
    return StudyFacts.of(replace(patient_of(images, None), **changes)).digest


def test_two_copies_of_a_study_have_one_digest_whatever_their_names_and_layout_in_memory() -> None:
    image = brain()[None]
    assert digest_of(image) == digest_of(image.copy(), patient="q", source=Path("elsewhere"))
    assert digest_of(np.asfortranarray(image)) == digest_of(image)


def test_studies_that_differ_in_a_single_voxel_in_order_or_in_shape_have_different_digests() -> None:
    image = brain()[None]
    changed = image.copy()
    changed[0, 7, 20, 20] = np.nextafter(changed[0, 7, 20, 20], np.float32(np.inf))
    others = [changed, image[:, ::-1], image[:, :, ::-1], image[:, 1:], image.reshape(1, 10, 24, 80), image + 1]
    digests = {digest_of(np.ascontiguousarray(other)) for other in (image, *others)}
    assert len(digests) == 1 + len(others)
    assert all(len(digest) == 32 for digest in digests)


def test_facts_count_the_lesion_in_slices_and_cubic_millimetres() -> None:
    labels = np.zeros((10, 48, 40), np.uint8)
    labels[3:6, 20:30, 15:25] = 4
    labels[5:7, 20, 15] = 1
    facts = StudyFacts.of(patient_of(brain()[None], labels, spacing=(2.0, 0.5, 0.5)))
    assert facts.tumour_slices == 4
    assert facts.lesion_mm3 == pytest.approx((3 * 100 + 1) * 0.5)
    stated = np.arange(10) == 0
    assert StudyFacts.of(patient_of(brain()[None], labels, tumour_slices=stated)).tumour_slices == 5
    assert StudyFacts.of(patient_of(brain()[None], None)).lesion_mm3 == 0
    assert facts.intensities["flair"] == pytest.approx(np.percentile(brain(), PERCENTILES), abs=1e-3)
    assert StudyFacts.from_json(facts.to_json()) == facts
