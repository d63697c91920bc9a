"""The model card of an exported generator (Mitchell et al. 2019): what it is, learnt from, and is not for."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

from common.export.provenance import Name, Provenance, Record, privacy_statement
from common.figures.figure import Figure
from common.figures.registry import REFERENCES

USES = (
    "Research on machine learning for medical images: augmenting training data, and studying federated training and "
    "its privacy."
)
NOT_FOR = (
    "No diagnosis, no treatment, no decision about a patient; it is no medical device.",
    "What it makes shows nobody's state of health. Say of every image made with it that it is synthetic.",
    "Test results belong on real images: scores on synthetic ones say little.",
    "It repeats the scanners, protocols and patients that it learnt from, and what they lack.",
)


class Port(Record):
    """One argument of the network's ``forward``, or its result.

    Attributes:
        name: of the argument.
        shape: for people, e.g. ``(B, 1, H, W)``.
        meaning: content, range and units.
    """

    name: str
    shape: str
    meaning: str


class GeneratorCard(Record):
    """What is said about a generator; all of it may be read by anybody who gets the export.

    Attributes:
        provenance: the run and round.
        organs: organ -> the contrasts of its slices.
        sites: how many took part in training.
        patients: how many they declared in all; None where that was not declared by each.
        rounds: of the training.
        size: rows and columns of the slices it was trained on.
        task: what it does, in a sentence.
        inputs: the arguments of ``forward`` in order.
        output: its result.
        scores: by what was scored, an organ or a translation.
        licence: of the weights; the loader's code is under Apache-2.0.
        intended_use: in a sentence or two.
        limits: beside those of every generator.
    """

    provenance: Provenance
    organs: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    sites: int = Field(ge=1)
    patients: int | None = Field(default=None, ge=1)
    rounds: int = Field(ge=1)
    size: int = Field(ge=1)
    task: str
    inputs: tuple[Port, ...]
    output: Port
    scores: dict[str, tuple[Figure, ...]] = {}
    licence: Name
    intended_use: str = USES
    limits: tuple[str, ...] = ()


def card_text(card: GeneratorCard, network: type[nn.Module], weights: bytes) -> str:
    """The card as Markdown."""
    p = card.provenance
    facts = {
        "Run": f"{p.run}, round {p.round} of {card.rounds}, preset {p.preset}, seed {p.seed}",
        "Model": f"{p.model}, of the family {p.family}; network {network.__name__}",
        "Weights": f"generator.safetensors, SHA-256 {hashlib.sha256(weights).hexdigest()}",
        "Licence of the weights": card.licence,
        "Licence of load_generator.py": "Apache-2.0",
    }
    patients = "not declared" if card.patients is None else str(card.patients)
    learnt = {
        "Sites": str(card.sites),
        "Patients at these sites": patients,
        "Slices": f"{card.size} x {card.size} pixels",
        **{organ.capitalize(): ", ".join(contrasts) for organ, contrasts in card.organs.items()},
    }
    ports = [(one.name, one.shape, one.meaning) for one in card.inputs]
    sections = {
        f"Generator {p.model}": f"{_line(card.task)}\n\n{_table(('', ''), list(facts.items()))}",
        "What it learnt from": _table(("", ""), list(learnt.items())),
        "Privacy": privacy_statement(p.privacy),
        "Scores": _scores(card.scores),
        "Intended use": _line(card.intended_use),
        "Limits": "\n".join(f"- {_line(one)}" for one in (*NOT_FOR, *card.limits)),
        "How to load it": _HOW,
        "What goes in": _table(("argument", "shape", "meaning"), ports),
        "What comes out": _table(
            ("", "shape", "meaning"), [(card.output.name, card.output.shape, card.output.meaning)]
        ),
    }
    marks = ["#", *["##"] * (len(sections) - 1)]
    return (
        "\n\n".join(f"{mark} {_line(t)}\n\n{text}" for mark, (t, text) in zip(marks, sections.items(), strict=True))
        + "\n"
    )


_HOW = """\
Python 3.11 or later and torch are enough; the file may be read before it is run, and no pickle is opened.

```python
from load_generator import load_generator

generator = load_generator()
```"""


def _scores(scores: dict[str, tuple[Figure, ...]]) -> str:
    if not scores:
        return "None were computed."
    rows = [
        (f"{one.name}, {subject}", one.of.text(one.value), str(one.n or ""), _compared(one))
        for subject, figures in scores.items()
        for one in figures
        if not one.against
    ]
    return _table(("score", "value", "images", "compare with, at the same number"), rows)


def _compared(figure: Figure) -> str:
    levels = (f"{REFERENCES[key]} {figure.of.text(value)}" for key, value in figure.references.items())
    return "; ".join(levels) or "none"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())
