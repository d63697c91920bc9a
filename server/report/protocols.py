"""What a reader must know of each way in which generated images are evaluated: one entry a protocol.

Figures carry their own names, units and references; what stands here is which of them counts most, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.figures.figure import Figure, ImageScores
from common.figures.formatting import listed, plural
from common.figures.registry import PARTS, REFERENCES

Name = tuple[str, str]
"""Metric and part of a figure."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """One entry.

    Attributes:
        title: what such a generator does, after its name and a colon.
        about: sentences under that title.
        lead: first words of the sentence in the answer.
        headline: the figure that says most.
        similarity: the SSIM and PSNR that this kind is summarised by.
        similarity_of: whose they are, as a phrase.
        charts: figures whose curves are shown first.
        limits: what the figures do not show.
    """

    title: str
    about: str
    lead: str
    headline: Name
    similarity: tuple[Name, Name]
    similarity_of: str
    charts: tuple[Name, ...]
    limits: tuple[str, ...]


PROTOCOLS: dict[str, EvaluationProtocol] = {
    "paired": EvaluationProtocol(
        title="lesions inserted into healthy slices",
        about="A region of a slice is blanked and drawn again from its surroundings and a map of the tumour. It is "
        "scored where the slice really has that tumour, so that it can be compared with the truth.",
        lead="Lesions redrawn in the reference set",
        headline=("ssim", "lesion"),
        similarity=(("ssim", "foreground"), ("psnr", "foreground")),
        similarity_of="the foreground of the slice with its lesion redrawn; surroundings are copied",
        charts=(("ssim", "lesion"), ("psnr", "lesion"), ("frechet", "")),
        limits=(
            "Whole-image SSIM and PSNR of an inserted lesion are mostly the copied surroundings and the black "
            "background; the lesion crop against biharmonic inpainting is what counts.",
            "Biharmonic inpainting fills the blanked region smoothly from its edge without any learning. A generator "
            "that does not beat it has learnt nothing about lesions.",
        ),
    ),
    "nearest": EvaluationProtocol(
        title="whole slices from noise",
        about="A slice made from noise has no counterpart. It is compared with the reference slice nearest to it, as "
        "are real slices with the nearest of another patient; and all of them, as a set, with the real ones.",
        lead="Whole slices made from noise",
        headline=("frechet", ""),
        similarity=(("nearest_ssim", ""), ("nearest_psnr", "")),
        similarity_of="a slice made from noise against the nearest real one",
        charts=(("frechet", ""), ("nearest_ssim", ""), ("ms_ssim", "")),
        limits=(
            "Nearest SSIM and PSNR compare a slice made from noise with the most similar real one. High is not good by "
            "itself: a copy of a real slice, or its blurred likeness, scores higher than a real slice of another "
            "patient.",
        ),
    ),
    "cycle": EvaluationProtocol(
        title="slices translated from one domain to another",
        about="No site needs both domains. A translated slice is compared, as one of a set, with real slices of the "
        "target; and translated back it should be the slice it was. A generator that changes nothing returns "
        "perfectly, so the distance to the target, compared with that of unchanged slices, is what counts.",
        lead="Translated slices of the reference set",
        headline=("frechet", ""),
        similarity=(("cycle_ssim", ""), ("cycle_psnr", "")),
        similarity_of="the whole slice translated there and back, against itself",
        charts=(("frechet", ""), ("ssim", "foreground"), ("psnr", "foreground")),
        limits=(
            "Cycle SSIM and PSNR compare a slice with itself after translation there and back. They say that nothing "
            "was lost, not that anything was translated: a generator that changes nothing reaches 1.",
        ),
    ),
    "translation": EvaluationProtocol(
        title="one contrast made from another of the same slice",
        about="It trains where both contrasts of a patient are held, and sees the source and the tumour's label map. A "
        "translated slice is compared with the real one in the target contrast; so is the source itself, unchanged, "
        "which shows the same anatomy and is what a translation must beat.",
        lead="Contrasts of the reference set made from others",
        headline=("psnr", "foreground"),
        similarity=(("ssim", "foreground"), ("psnr", "foreground")),
        similarity_of="the foreground of the translated slice, against the real target",
        charts=(("ssim", "foreground"), ("psnr", "foreground"), ("frechet", "")),
        limits=(
            "A translated contrast is compared with the one that was really taken. Contrasts of one slice share their "
            "anatomy, so that the untranslated slice is alike to begin with: what counts is the gain over it.",
            "The translating generator is given the label map: that its lesions lie in the right place says nothing. "
            "What neither the source nor the label map shows, such as an uptake of contrast agent, it can only guess.",
        ),
    ),
}
"""By ``GanResult.protocol``, which is also the ``protocol`` of its scores."""


def headline(scores: ImageScores) -> Figure:
    """The figure that says most of these scores."""
    return scores[PROTOCOLS[scores.protocol].headline]


def headline_gain(scores: ImageScores) -> Figure | None:
    """The gain of the headline over what it is compared with; None where there is none."""
    key = headline(scores).key[:2]
    return next((one for one in scores.figures if one.against and one.key[:2] == key), None)


def in_short(scores: ImageScores) -> str:
    """The headline and what it is compared with, on one line.

    >>> lesion = Figure(metric="ssim", part="lesion", value=0.61, references={"biharmonic": 0.58})
    >>> in_short(ImageScores(protocol="paired", figures=[lesion]))
    'SSIM, lesion 0.610, biharmonic inpainting 0.580'
    """
    end = ", images nearly all alike" if scores.collapsed else ""
    return f"{_with_references(headline(scores))}{end}"


def sentence(which: str, finals: Mapping[str, ImageScores]) -> str:
    """What the chosen round reached on the final part, subject by subject; ``which`` names it."""
    clauses = [_clause(subject, final, brief=len(finals) > 2) for subject, final in finals.items()]
    return f"{which}: {'; '.join(clauses)}"


def gain_in_words(gain: Figure) -> str:
    """A gain with its interval; it is claimed only if the interval lies above zero.

    >>> gain = Figure(metric="psnr", against="unchanged", value=1.0, low=0.5, high=1.5)
    >>> gain_in_words(gain).replace("\\N{NO-BREAK SPACE}", " ")
    '+1.0 dB (+0.5 to +1.5) over unchanged slices, an interval above zero'
    """
    if gain.value is None or gain.low is None or gain.high is None:
        return "no interval could be computed for its gain"
    written = gain.of.differences
    said = f"{written.text(gain.value)} ({written.number(gain.low)} to {written.number(gain.high)}) over "
    said += REFERENCES[gain.against]
    if gain.low > 0:
        return f"{said}, an interval above zero"
    return f"{said}, an interval {'below' if gain.high < 0 else 'that includes'} zero, so no gain is shown"


def _clause(subject: str, final: ImageScores, *, brief: bool) -> str:
    figure = headline(final)
    gain = headline_gain(final)
    behind = "" if brief else f" ({_behind(figure, final)})"
    alike = ", and so alike that it counts as collapsed" if final.collapsed else ""
    if gain is None:
        return f"{subject}, {_with_references(figure)}{behind}{alike}"
    return f"{subject}, {figure.name} {figure.of.text(figure.value)}, {gain_in_words(gain)}{behind}{alike}"


def _with_references(figure: Figure) -> str:
    """``blurred`` is left out: it is the end of the normalised scale, and no level to reach."""
    named = {key: value for key, value in figure.references.items() if key != "blurred"}
    levels = [f"{REFERENCES[key]} {figure.of.text(value)}" for key, value in named.items()]
    return ", ".join([f"{figure.name} {figure.of.text(figure.value)}", *levels])


def _behind(figure: Figure, final: ImageScores) -> str:
    slices = plural(figure.n if figure.n is not None else final.slices or 0, "slice")
    return f"{slices} of {plural(final.patients or 0, 'patient')} that had no part in choosing it"


def titles(names: tuple[Name, ...]) -> str:
    """Names of parts, for captions.

    >>> titles((("ssim", "lesion"), ("psnr", "")))
    'lesion and whole slice'
    """
    return listed(dict.fromkeys(PARTS[part] for _, part in names))
