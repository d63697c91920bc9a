from dataclasses import replace

import pytest
import torch
from weights import equal

from common.errors import DataError
from common.imaging.slices import Slices
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training.classifier import ClassifierBatch, Trainer, TrainingSet
from common.training.kinds import SyntheticSlices

SMALL = ClassifierConfig(width=4, batch_size=8)


def make(
    config: ClassifierConfig = SMALL, seed: int = 1, contrasts: tuple[str, ...] = ("flair",), total_steps: int = 20
) -> Trainer:
    return Trainer(
        config,
        image=ImageConfig(size=64),
        channels=len(contrasts),
        device=torch.device("cpu"),
        seed=seed,
        total_steps=total_steps,
    )


def constant_set(value: float, tumour: list[bool], weight: float = 1.0) -> TrainingSet:
    return TrainingSet(torch.full((len(tumour), 1, 64, 64), value), torch.tensor(tumour), weight)


def test_a_slice_is_a_tumour_from_the_stated_number_of_pixels(slices: Slices) -> None:
    limit = int(slices.tumour_pixels.max())
    training = TrainingSet.from_slices(replace(slices, min_tumour_pixels=limit))
    assert training.tumour.tolist() == (slices.tumour_pixels >= limit).tolist()
    assert 0 < training.tumour.sum() < (slices.tumour_pixels > 0).sum()


def test_synthetic_slices_keep_the_class_they_were_made_as() -> None:
    nothing = torch.zeros(2, 64, 64)
    synthetic = SyntheticSlices(
        torch.rand(2, 1, 64, 64),
        nothing.to(torch.uint8),
        torch.tensor([True, False]),
        nothing > 0,
        torch.zeros(2).long(),
    )
    training = TrainingSet.from_synthetic(synthetic, 0.5)
    assert training.tumour.tolist() == [True, False]
    assert training.weight == 0.5


def test_batches_are_balanced(slices: Slices) -> None:
    for batch in make().batches(slices, 3, 1):
        assert batch.images.shape == (8, 1, 64, 64)
        assert int(batch.tumour.sum()) == 4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 101])  # the last is more than there are slices
def test_half_of_the_slices_hold_a_tumour_whatever_the_size_of_a_batch(slices: Slices, size: int) -> None:
    batches = list(make(replace(SMALL, batch_size=size)).batches(slices, 40, 1))
    assert {len(batch.images) for batch in batches} == {size}
    assert sum(int(batch.tumour.sum()) for batch in batches) == 40 * size // 2
    # A round of a single step is not always the same class either.
    rounds = [next(make(replace(SMALL, batch_size=1)).batches(slices, 1, seed)) for seed in range(20)]
    assert 3 < sum(int(batch.tumour.sum()) for batch in rounds) < 17


def test_a_classifier_trained_on_single_slices_finds_tumours_and_healthy_slices(slices: Slices) -> None:
    trainer = make(ClassifierConfig(width=4, batch_size=1, learning_rate=5e-3), total_steps=200)
    trainer.train(trainer.batches(slices, 200, 1))
    tumour = torch.from_numpy(slices.tumour_class())
    said = trainer.predict(slices.all().images) > 0.5
    assert float((said[tumour]).float().mean()) > 0.8
    assert float((~said[~tumour]).float().mean()) > 0.8


def test_sources_are_drawn_by_their_weights() -> None:
    sources = [constant_set(0.2, [True, False], 3.0), constant_set(0.8, [True, False], 1.0)]
    for batch in make().batches(sources, 5, 1):
        for tumour in (True, False):
            centre = batch.images[batch.tumour == tumour, 0, 32, 32]
            assert int((centre > 0.5).sum()) == 1


def test_a_source_without_one_class_gives_the_other(slices: Slices) -> None:
    sources = [constant_set(0.2, [False, False]), constant_set(0.8, [True, False])]
    (batch,) = make().batches(sources, 1, 1)
    assert (batch.images[batch.tumour, 0, 32, 32] > 0.5).all()
    assert int((batch.images[~batch.tumour, 0, 32, 32] > 0.5).sum()) == 2


@pytest.mark.parametrize("tumour", [True, False])
def test_a_missing_class_is_an_error_at_once(tumour: bool) -> None:
    with pytest.raises(DataError, match="without" if tumour else "with a tumour"):
        make().batches([constant_set(0.5, [tumour] * 3)], 1, 1)


def test_batches_are_the_same_for_the_same_seed(slices: Slices) -> None:
    def draw(seed: int) -> list[ClassifierBatch]:
        return list(make().batches(slices, 2, seed))

    assert all(torch.equal(a.images, b.images) for a, b in zip(draw(1), draw(1), strict=True))
    assert not torch.equal(draw(1)[0].images, draw(2)[0].images)


def test_learns_the_bright_lesions_of_the_fixture(slices: Slices) -> None:
    trainer = make(ClassifierConfig(width=4, batch_size=8, learning_rate=5e-3), total_steps=60)
    losses = trainer.train(trainer.batches(slices, 60, 1))
    assert set(losses) == {"loss", "accuracy"}
    tumour = torch.from_numpy(slices.tumour_pixels >= 12)
    probability = trainer.predict(slices.all().images)
    assert probability.shape == (len(slices),)
    assert ((probability > 0.5) == tumour).float().mean() > 0.9


def test_prediction_does_not_depend_on_the_rest(slices: Slices) -> None:
    trainer = make()
    images = slices.all().images
    images = torch.cat([images] * 6)
    assert len(images) > 128
    probability = trainer.predict(images)
    assert ((probability > 0) & (probability < 1)).all()
    torch.testing.assert_close(probability[5:6], trainer.predict(images[5:6]))
    torch.testing.assert_close(probability[150], trainer.predict(images)[150])


def test_features_are_what_the_head_sees(slices: Slices) -> None:
    trainer = make()
    images = slices.all().images
    features = trainer.features(images)
    assert features.shape == (len(images), 32)
    logits = trainer.classifier.head(features).squeeze(1)
    torch.testing.assert_close(logits.sigmoid().detach(), trainer.predict(images))


def test_training_depends_on_the_seed_alone(slices: Slices) -> None:
    one, other = make(), make()
    torch.manual_seed(5)
    one.train(one.batches(slices, 3, 1))
    torch.manual_seed(6)
    other.train(other.batches(slices, 3, 1))
    assert equal(one.shared_arrays(), other.shared_arrays())
    assert not equal(one.shared_arrays(), make(seed=2).shared_arrays())


def test_a_resumed_training_equals_an_uninterrupted_one(slices: Slices) -> None:
    whole = make()
    whole.train(whole.batches(slices, 4, 1))
    whole.train(whole.batches(slices, 4, 2))
    first = make()
    first.train(first.batches(slices, 4, 1))
    second = make(seed=9)
    second.load_shared_arrays(first.shared_arrays())
    second.load_private_state(first.private_state())
    second.train(second.batches(slices, 4, 2))
    assert equal(whole.shared_arrays(), second.shared_arrays())
    assert equal(whole.private_state(), second.private_state())


def test_the_rate_rises_and_falls_over_the_stated_steps(slices: Slices) -> None:
    trainer = make()
    rates: list[float] = []
    trainer.step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    trainer.train(trainer.batches(slices, 25, 1))
    peak = rates.index(max(rates))
    assert peak == 4
    assert max(rates) == pytest.approx(SMALL.learning_rate)
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[19] < 0.02 * max(rates)
    assert rates[24] > 0


def test_the_schedule_can_be_longer_than_one_training(slices: Slices) -> None:
    trainer = Trainer(
        SMALL, image=ImageConfig(size=64), channels=1, device=torch.device("cpu"), seed=1, total_steps=200
    )
    trainer.train(trainer.batches(slices, 5, 1))
    assert trainer.optimisers["classifier"].param_groups[0]["lr"] < 0.2 * SMALL.learning_rate


def test_only_floating_point_values_of_resnet50_cross_the_wire(two_contrasts: Slices) -> None:
    config = ClassifierConfig(network="resnet50", batch_size=2, learning_rate=1e-4)
    trainer = make(config, contrasts=("t1", "flair"))
    before = trainer.shared_arrays()
    assert any(key.endswith("running_mean") for key in before)
    assert not any(key.endswith("num_batches_tracked") for key in before)
    trainer.train(trainer.batches(two_contrasts, 1, 1))
    other = make(config, seed=2, contrasts=("t1", "flair"))
    other.load_shared_arrays(trainer.shared_arrays())
    images = two_contrasts.batch([0, 1]).images
    assert torch.equal(other.predict(images), trainer.predict(images))


def test_probabilities_are_right_for_the_share_of_tumours_it_is_told() -> None:
    """Slices that show nothing: all that can be learnt of them is how frequent tumours are."""
    told = {}
    for share in (0.5, 0.1):
        trainer = Trainer(
            SMALL,
            image=ImageConfig(size=64),
            channels=1,
            device=torch.device("cpu"),
            seed=1,
            total_steps=60,
            tumour_share=share,
        )
        trainer.train(trainer.batches([constant_set(0.5, [True, False])], 60, 1))
        told[share] = trainer.predict(torch.full((4, 1, 64, 64), 0.5)).mean().item()
    assert told[0.5] == pytest.approx(0.5, abs=0.1)
    assert told[0.1] == pytest.approx(0.1, abs=0.05)
