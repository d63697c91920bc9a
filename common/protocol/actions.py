"""What a coordinator may ask of a site: the names, which a hospital's settings hold as well."""

from enum import StrEnum


class Action(StrEnum):
    """Named actions of the ClientApp; the value is Flower's message type."""

    HELLO = "query.hello"
    TRAIN_GAN = "train.gan"
    SYNTHESISE = "query.synthesise"
    ARMS = "evaluate.arms"
    SITE_MODEL = "query.site_model"
    TRAIN_CLASSIFIER = "train.classifier"
    EVALUATE = "evaluate.classifier"
    RELEASE = "query.release"
    TAKE_PROXIES = "query.proxies"
    PRIVACY = "query.privacy"


NO_SITE, FAILED, NOT_NOW = 100, 101, 102
"""Codes of a site's own errors: it has no usable ``site.yaml``; it refuses or failed; not now, ask again."""
