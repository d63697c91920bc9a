"""The base of every record that is written to a file or sent in a message."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")
