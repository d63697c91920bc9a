"""Where something that is handed on comes from, and what privacy it was made with."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[\w .,+=:()@#-]{1,64}$")]
"""A name that fits into DICOM and a table; neither a path nor several lines."""


class Record(BaseModel):
    """Base of every part; unknown keys, NaN and infinity are refused, and no value changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Privacy(Record):
    """A guarantee of differential privacy.

    Attributes:
        epsilon: the largest that any site spent, above 0.
        delta: of the same accounting.
        unit: what the guarantee protects one of.
    """

    epsilon: float = Field(gt=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["patient", "image"] = "patient"


class Provenance(Record):
    """The generator, by what a reader needs to find its run again; nothing of a patient, no path.

    Attributes:
        model: its name in the run's configuration.
        family: the model family, e.g. ``wgan_gp``.
        run: name of the run.
        round: the round whose weights these are.
        seed: of the run.
        preset: of the run.
        privacy: None where no guarantee was given.
    """

    model: Name
    family: Name
    run: Name
    round: int = Field(ge=0)
    seed: int
    preset: Name
    privacy: Privacy | None = None


def privacy_statement(privacy: Privacy | None) -> str:
    """One or two sentences for people.

    >>> privacy_statement(Privacy(epsilon=8, delta=1e-5))
    'Trained with (8, 1e-05)-differential privacy for each patient.'
    """
    if privacy is None:
        return (
            "No privacy guarantee was given: training was not differentially private, and what the generator makes "
            "may resemble those it learnt from."
        )
    return f"Trained with ({privacy.epsilon:g}, {privacy.delta:g})-differential privacy for each {privacy.unit}."
