"""Steps that come to no numbers: every image of every batch of a family is spoilt."""

import pytest

from common.training.trainer import Trainer


def spoil(family: type[Trainer[object]], monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, until ``monkeypatch`` is undone."""
    batches = family.batches

    def spoilt(self: Trainer[object], *given: object) -> object:
        for batch in batches(self, *given):  # type: ignore[arg-type]
            getattr(batch, "images").fill_(float("nan"))  # noqa: B009
            yield batch

    monkeypatch.setattr(family, "batches", spoilt)
