from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import ConfigError, DataError, StudyError
from common.figures.figure import ImageScores
from common.imaging.slices import SliceBatch, Slices, lesion_mask
from common.metrics.similarity import psnr
from common.study.experiment import EvaluationConfig
from common.training.kinds import PairedTranslationTrainer
from common.training.trainer import View
from server.evaluation.evaluation import EVALUATIONS
from server.evaluation.measures import ONE_BY_ONE
from server.evaluation.translation import TranslationEvaluation

T1, T2 = View("brain", ("t1",)), View("brain", ("t2",))
CONFIG = EvaluationConfig(paired_images=24, frechet_images=40)


def inverted(batch: SliceBatch) -> Tensor:
    """The fixture's second contrast, made from its first."""
    return torch.where(batch.images > 0, 0.9 - batch.images, 0).clamp(0, 1)


def blind(batch: SliceBatch) -> Tensor:
    """The same without the lesion."""
    return torch.where(lesion_mask(batch.labels).unsqueeze(1), 0.3, inverted(batch))


@dataclass
class Sides:
    sides: tuple[View, View] = (T1, T2)


class FakeTranslator(PairedTranslationTrainer[Tensor]):
    """Makes the target by a rule."""

    def __init__(self, rule: Callable[[SliceBatch], Tensor] = inverted, sides: tuple[View, View] = (T1, T2)) -> None:
        super().__init__(device=torch.device("cpu"))
        self.config, self.rule = Sides(sides), rule

    @classmethod
    def sides(cls, config: Any) -> tuple[View, View]:
        sides: tuple[View, View] = config.sides
        return sides

    def translate(self, batch: SliceBatch) -> Tensor:
        return self.rule(batch)

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Tensor]:
        raise NotImplementedError

    def train_step(self, batch: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def evaluation(both_contrasts: Slices, extractor: Any) -> TranslationEvaluation:
    source, target = both_contrasts.in_contrasts(["t1"]), both_contrasts.in_contrasts(["t2"])
    return TranslationEvaluation(source, target, CONFIG, extractor=extractor)


def test_a_true_translation_equals_the_target_and_reaches_the_floor(evaluation: TranslationEvaluation) -> None:
    scores = evaluation.score(FakeTranslator(), seed=1).to_scores()
    one = scores
    assert one["ssim", "foreground"].value > 0.99 > 0.5 > one["ssim", "foreground"].references["unchanged"]
    assert one["ssim", "lesion"].value > 0.99 > 0.6 > one["ssim", "lesion"].references["unchanged"]
    assert min(one["psnr"].value, one["psnr", "foreground"].value, one["psnr", "lesion"].value) > 40
    assert (
        max(
            one["psnr"].references["unchanged"],
            one["psnr", "foreground"].references["unchanged"],
            one["psnr", "lesion"].references["unchanged"],
        )
        < 25
    )
    assert scores["frechet"].value == pytest.approx(scores["frechet"].references["real"], rel=0.05)
    assert scores["frechet"].references["unchanged"] > 2 * scores["frechet"].references["real"]
    assert scores["frechet"].conditions["setting"] == "matched"


def test_pairs_and_sets_count_as_many_slices_as_were_asked_for(evaluation: TranslationEvaluation) -> None:
    scores = evaluation.score(FakeTranslator(), seed=1).to_scores()
    assert (scores.slices, scores.patients, scores["frechet"].n) == (24, 8, 20)
    assert 0 < scores["ssim", "lesion"].n < 24


def test_changing_nothing_scores_as_the_unchanged_slices_do(evaluation: TranslationEvaluation) -> None:
    outcome = evaluation.score(FakeTranslator(lambda batch: batch.images), seed=1)
    scores = outcome.to_scores()
    one = scores
    compared = [figure for figure in one.figures if figure.of.kind == "image"]
    assert len(compared) == 3 * len(ONE_BY_ONE)
    for figure in compared:
        assert figure.value == figure.references["unchanged"]
    assert scores["frechet"].value == pytest.approx(scores["frechet"].references["unchanged"])
    assert outcome.final(100, seed=1)["psnr", "foreground", "unchanged"].value == 0


def test_the_choice_is_by_the_foregrounds_similarity(evaluation: TranslationEvaluation) -> None:
    true, wrong = (evaluation.score(FakeTranslator(rule), seed=1) for rule in (inverted, lambda batch: batch.images))
    assert true.choice == true.to_scores()["ssim", "foreground"].value > wrong.choice
    assert list(true.shown) == ["foreground SSIM", "unchanged", "FD-Pooled"]


def test_a_lesion_that_was_not_translated_shows_in_the_crop_most(evaluation: TranslationEvaluation) -> None:
    true, lacking = (evaluation.score(FakeTranslator(rule), seed=1).to_scores() for rule in (inverted, blind))
    losses = {part: true["ssim", part].value - lacking["ssim", part].value for part in ("lesion", "foreground", "")}
    assert losses["lesion"] > 2 * losses["foreground"] > 2 * losses[""] > 0


def test_without_a_lesion_anywhere_its_figures_are_missing_and_not_numbers(
    both_contrasts: Slices, extractor: Any
) -> None:
    healthy = replace(
        both_contrasts, patients=[replace(one, labels=np.zeros_like(one.labels)) for one in both_contrasts.patients]
    )
    source, target = healthy.in_contrasts(["t1"]), healthy.in_contrasts(["t2"])
    evaluation = TranslationEvaluation(source, target, CONFIG, extractor=extractor)
    scores = evaluation.score(FakeTranslator(), seed=1).to_scores()
    one = scores
    assert (
        one["ssim", "lesion"].value,
        one["psnr", "lesion"].value,
        one["psnr", "lesion"].references["unchanged"],
        one["ssim", "lesion"].n,
    ) == (None, None, None, 0)
    assert ImageScores.model_validate_json(scores.model_dump_json()) == scores


def test_unchanged_slices_of_another_number_of_contrasts_are_no_floor(both_contrasts: Slices, extractor: Any) -> None:
    evaluation = TranslationEvaluation(both_contrasts, both_contrasts.in_contrasts(["t2"]), CONFIG, extractor=extractor)
    both = View("brain", ("t1", "t2"))
    outcome = evaluation.score(FakeTranslator(lambda batch: batch.images[:, 1:], (both, T2)), seed=1)
    final = outcome.final(100, seed=1)
    assert final["psnr"].value == 100
    assert not [one for one in final.figures if one.against or "unchanged" in one.references]
    assert list(outcome.shown) == ["foreground SSIM", "FD-Pooled"]
    assert outcome.pictures.arrays(4)["figure_names"].tolist() == ["SSIM of the foreground"]


def test_intervals_are_over_patients(evaluation: TranslationEvaluation) -> None:
    final = evaluation.score(FakeTranslator(), seed=1).final(200, seed=3)
    assert final.protocol == "translation"
    assert final["psnr", "foreground", "unchanged"].low > 10
    assert final["ssim", "foreground"].value == pytest.approx(final["ssim", "foreground"].value, abs=1e-3)
    assert final["ssim", "foreground"].low < final["ssim", "foreground"].high


def test_the_gallery_shows_source_translation_and_truth_with_the_outlined_lesion(
    evaluation: TranslationEvaluation,
) -> None:
    outcome = evaluation.score(FakeTranslator(), seed=1)
    gallery = outcome.pictures.arrays(4, [outcome.gallery_images, outcome.gallery_images])
    images = {str(name): torch.from_numpy(gallery["images"][:, i]) for i, name in enumerate(gallery["versions"])}
    assert list(images) == ["source", "translated", "real target"]
    assert psnr(images["translated"][:, None], images["real target"][:, None]).min() > 35
    assert gallery["labels"].any()
    assert gallery["by_round"].shape == (2, 4, 32, 32)


def test_it_is_what_a_trainer_of_this_protocol_is_evaluated_by(both_contrasts: Slices, extractor: Any) -> None:
    sides = [both_contrasts.in_contrasts(["t1"]), both_contrasts.in_contrasts(["t2"])]
    built = EVALUATIONS[FakeTranslator.protocol](*sides, CONFIG, extractor=extractor)
    assert isinstance(built, TranslationEvaluation)


def test_what_cannot_be_scored_is_a_clear_error(
    evaluation: TranslationEvaluation, both_contrasts: Slices, extractor: Any
) -> None:
    with pytest.raises(StudyError, match="diverged"):
        evaluation.score(FakeTranslator(lambda batch: torch.full_like(batch.images, torch.nan)), seed=1)
    with pytest.raises(ConfigError, match="FakeTranslator does not translate brain t1 to brain t2"):
        evaluation.score(FakeTranslator(sides=(T2, T1)), seed=1)
    with pytest.raises(ValueError, match="left out or reshaped slices"):
        evaluation.score(FakeTranslator(lambda batch: batch.images[1:]), seed=1)
    source, target = both_contrasts.in_contrasts(["t1"]), both_contrasts.in_contrasts(["t2"])
    with pytest.raises(DataError, match="not those of the same patients"):
        TranslationEvaluation(source, replace(target, patients=target.patients[1:]), CONFIG, extractor=extractor)
    alone = [replace(side, patients=side.patients[:1]) for side in (source, target)]
    with pytest.raises(DataError, match="1 patients with brain t1 and brain t2, scoring needs two"):
        TranslationEvaluation(*alone, CONFIG, extractor=extractor)
