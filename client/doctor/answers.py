"""The lines of ``site.yaml`` that answer what the doctor asks, ready to be looked through and pasted."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from client.doctor.examination import Unanswered
from common.figures.formatting import listed, plural


def asked(questions: Sequence[Unanswered], studies: int) -> str:
    """Why the site is not fit before they are answered, in one sentence; ``studies`` wait for that."""
    names = ", ".join(f"{one.about} ({one.count})" for one in questions)
    options = list(dict.fromkeys(option for one in questions for option in one.options))
    return (
        f"{plural(studies, 'study', 'studies')} would count as tumour-free but "
        f"{'holds' if studies == 1 else 'hold'} what may be a tumour, and {'is' if studies == 1 else 'are'} left out: "
        f"{names}. Name each in {listed([f'options.{option}' for option in options], 'or')} of site.yaml; the lines to "
        "paste are below"
    )


def answers(options: Mapping[str, Any], questions: Sequence[Unanswered]) -> str:
    """The site's options with every question put into the list for what is no tumour, as YAML.

    >>> ask = [Unanswered(about="hcc", options=["tumour_segments", "other_segments"], count=1, examples=["ann"])]
    >>> print(answers({"tumour_segments": ["mass"]}, ask), end="")
    options:
      tumour_segments: [mass]
      other_segments: [hcc]
    """
    filled: dict[str, Any] = {
        name: list(value) if isinstance(value, (list, tuple)) else value for name, value in options.items()
    }
    for one in questions:
        for option in one.options[:-1]:
            filled.setdefault(option, [])
        filled.setdefault(one.options[-1], []).append(one.about)
    lines = [
        f"  {yaml.safe_dump({name: value}, default_flow_style=None, width=10_000, allow_unicode=True)}"
        for name, value in filled.items()
    ]
    return "options:\n" + "".join(lines)
