import pytest
import torch

from common.features.efficientnet import efficientnet_lite0
from common.features.extractor import NetworkFeatures, feature_extractor


@pytest.fixture(scope="module")
def extractor():
    return feature_extractor("efficientnet_lite0")


def test_features_without_inception_are_not_called_fid(extractor):
    assert (extractor.name, extractor.distance_name) == ("EffLite0", "FD-EffLite0")


def test_features_do_not_depend_on_the_batch(extractor, monkeypatch):
    monkeypatch.setattr("common.features.extractor.BATCH", 2)
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    features = extractor.features(images)
    assert features.shape == (3, 1280)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features[1:2], extractor.features(images[1:2]), rtol=1e-4, atol=1e-5)


def test_each_contrast_gives_its_own_features(extractor):
    images = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    features = extractor.features(images)
    assert features.shape == (1, 2560)
    torch.testing.assert_close(features[:, 1280:], extractor.features(images[:, 1:]), rtol=1e-4, atol=1e-5)


def test_other_weights_have_another_fingerprint(extractor):
    network = efficientnet_lite0()
    options = {"name": "EffLite0", "distance_name": "FD-EffLite0", "size": 224}
    assert NetworkFeatures(network, **options).fingerprint == extractor.fingerprint
    with torch.no_grad():
        network.stem[0].weight[0, 0, 0, 0] += 1
    assert NetworkFeatures(network, **options).fingerprint != extractor.fingerprint
