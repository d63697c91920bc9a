"""A generator whose weights are numbers and whose images are not: they overflowed on the way through it."""

from torch import Tensor

from common.errors import StudyError


class DivergedError(StudyError):
    """The model makes pixels that are not finite, so that no round of it can be scored or chosen."""

    def __init__(self) -> None:
        super().__init__("the model has diverged: it makes pixels that are not finite")


def require_pixels(*images: Tensor) -> None:
    """
    Raises:
        DivergedError: if a pixel of any of ``images`` is not finite.
    """
    if not all(bool(made.isfinite().all()) for made in images):
        raise DivergedError
