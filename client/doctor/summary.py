"""What the doctor found in a few lines: the first sentence of the page, and the text on the terminal."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from client.doctor.examination import Duplicate, Examination, Network, StudyRow, TrainingStep
from common.figures.formatting import duration, listed, plural, significant
from common.study.phases import Phase, PhaseKind

TASKS = {"classifier": "train the classifier", "evaluate": "test models on its patients"}
NOT_JOINED = "not joined yet: oncofed-client init KIT.zip"
PARTS = {"train": "training", "validation": "validation", "test": "test", "unused": "not used"}


def verdict(found: Examination) -> str:
    """Whether the site can take part, in one sentence."""
    if not found.fit:
        return f"{found.site} cannot take part in the study {found.study} yet."
    tasks = listed(map(task_title, found.tasks))
    return (
        f"{found.site} is fit to take part in the study {found.study}: with {found.organ} {found.modality} of "
        f"{plural(found.usable_patients, 'patient')} it could {tasks}."
    )


def task_title(task: str) -> str:
    """What a site could do, in words.

    >>> task_title("gan/cgan")
    'train the GAN cgan'
    """
    named = Phase.parse(task)
    return f"train the GAN {named.name}" if named.kind == PhaseKind.GAN else TASKS.get(task, task)


def step_sentence(step: TrainingStep, found: Examination) -> str:
    """How one training step went."""
    if step.problem:
        return f"{step.network}: {step.problem}"
    losses = ", ".join(f"{name} {significant(value)}" for name, value in step.losses.items())
    on_cuda = found.machine is not None and found.machine.device.startswith("cuda")
    memory = "GPU memory" if on_cuda else "memory of the whole program"
    return f"{step.network}: {losses}; {duration(step.seconds)}, {memory} {step.peak_memory_mib:.0f} MiB at most"


def size(count: int) -> str:
    """Bytes as a person reads them.

    >>> size(3_500_000), size(5 * 2**30)
    ('3.3 MiB', '5.0 GiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def terminal_lines(found: Examination) -> list[str]:
    """The summary for a terminal, about a screen long."""
    lines = [verdict(found)]
    lines += [f"  problem: {problem}" for problem in found.problems]
    lines += [f"  look at: {warning}" for warning in found.warnings]
    lines += [f"  note: {note}" for note in found.notes]
    left_out = sum(len(reason.studies) for reason in found.quarantine)
    lines.append(
        f"studies: {plural(len(found.studies), 'study', 'studies')} of {plural(found.patients, 'patient')} read, "
        f"{left_out} in quarantine, {found.slices} slices prepared"
    )
    lines += [f"  {len(reason.studies):>4}  {reason.reason}" for reason in found.quarantine]
    lines += question_lines(found)
    lines += _as_stored(found.studies)
    lines += [f"{_DUPLICATES[double.kind]}: {_named(double)}" for double in found.duplicates]
    if found.parts:
        lines.append("patients (with a tumour) and slices (with a tumour):")
        lines += [
            f"  {PARTS[part]:<10} {b.patients:>5} ({b.with_tumour}) {b.slices:>7} ({b.tumour_slices})"
            for part, b in found.parts.items()
            if b.patients
        ]
    lines += filter(None, [placing_line(found)])
    if found.identifying:
        counted = ", ".join(f"{keyword} {count}" for keyword, count in found.identifying.items())
        lines.append(f"headers that may identify, by patients: {counted}")
    if found.to_review:
        lines.append(f"headers to review: {plural(len(found.to_review), 'field')}, listed on the page")
    if found.machine is not None:
        machine = found.machine
        lines.append(
            f"machine: {machine.device} {machine.device_name}; cache {size(machine.cache_bytes)}, "
            f"{size(machine.free_bytes)} free"
        )
        lines += [f"  weights.{name}: {state}" for name, state in machine.weights.items()]
    lines += network_lines(found)
    return lines + [f"one training step of {step_sentence(step, found)}" for step in found.training]


def placing_line(found: Examination) -> str:
    """Where lesions would lie that a study puts into this site's slices; empty where none can be."""
    if found.places is None:
        return ""
    return (
        f"inserted lesions, tried: {found.places.wholly_inside} of {found.places.lesions} wholly inside, "
        f"another slice taken {plural(found.places.moved_on, 'time')}"
    )


def question_lines(found: Examination) -> list[str]:
    """What to paste into ``site.yaml``, and who asks."""
    if not found.questions:
        return []
    last = found.questions[0].options[-1]
    first = found.questions[0].options[0]
    move = f"move what is a tumour from {last} to {first}" if first != last else "if that is so"
    lines = [f"to answer, look at these and paste into site.yaml; {move}:"]
    lines += [f"  {one.about}: {one.count}, e.g. {', '.join(one.examples)}" for one in found.questions]
    return lines + [f"    {line}" for line in found.answers.splitlines()]


def network_title(network: Network) -> str:
    """Whom the way leads to."""
    return f"{network.federation} at {network.address}" if network.address else "it is not known where the way leads"


def network_lines(found: Examination) -> list[str]:
    """The way to the coordinator, one line a check; a problem's sentence stands further up already."""
    network = found.network
    if network is None:
        return [f"network: {NOT_JOINED}"]
    lines = [f"network: {network_title(network)}"]
    told = {"warning": "see above", "problem": "see above"}
    return lines + [f"  {check.what + ':':<12} {told.get(check.state, check.told)}" for check in network.checks]


_DUPLICATES = {
    "same_pixels": "equal voxels under two names",
    "same_slices": "slices equal in every pixel",
    "near_copies": "slices that are copies, saved anew",
    "similar_names": "names that may be one patient's",
    "shared_stem": "names that may be visits of one patient",
    "several_studies": "several studies of one patient",
}


def _named(double: Duplicate) -> str:
    return ", ".join(dict.fromkeys(study.patient for study in double.studies))


def _as_stored(studies: Sequence[StudyRow]) -> list[str]:
    """Size, spacing and intensities over all studies: lowest, median and highest of each."""
    if not studies:
        return []

    def span(values: Iterable[float], written: Callable[[float], str] = significant) -> str:
        low, middle, high = np.percentile(list(values), (0, 50, 100)).tolist()
        return written(low) if low == high else f"{written(middle)} ({written(low)} to {written(high)})"

    known = [study for study in studies if study.spacing_known]
    axes = ("z", "y", "x")
    voxels = "; ".join(f"{axis} {span((s.shape[i] for s in studies), '{:g}'.format)}" for i, axis in enumerate(axes))
    spacing = "; ".join(f"{axis} {span(s.spacing[i] for s in known)}" for i, axis in enumerate(axes)) if known else ""
    lines = [
        f"as stored ({listed(sorted({study.modality for study in studies}))}), median (lowest to highest):",
        f"  voxels   {voxels}",
        f"  mm       {spacing or 'not known'}",
    ]
    for contrast in studies[0].intensities:
        rows = [study.intensities[contrast] for study in studies if contrast in study.intensities]
        told = "; ".join(f"{key} % {span(row[key] for row in rows)}" for key in ("1", "50", "99"))
        lines.append(f"  {contrast:<8} percentiles {told}")
    return lines
