"""What the doctor found in a few lines: the first sentence of the page, and the text on the terminal."""

from client.doctor.examination import Examination, TrainingStep
from common.report.formatting import duration, listed, plural, significant

TASKS = {"gan": "train the GAN", "classifier": "train the classifier", "evaluate": "test models on its patients"}
PARTS = {"train": "training", "validation": "validation", "test": "test", "unused": "not used"}


def verdict(found: Examination) -> str:
    """Whether the site can take part, in one sentence."""
    if not found.fit:
        return f"{found.site} cannot take part in the study {found.study} yet."
    tasks = listed(TASKS.get(task, task) for task in found.tasks)
    return (
        f"{found.site} is fit to take part in the study {found.study}: with {found.organ} {found.modality} of "
        f"{plural(found.usable_patients, 'patient')} it could {tasks}."
    )


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


def terminal_text(found: Examination) -> str:
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
    if found.parts:
        lines.append("patients (with a tumour) and slices (with a tumour):")
        lines += [
            f"  {PARTS[part]:<10} {b.patients:>5} ({b.with_tumour}) {b.slices:>7} ({b.tumour_slices})"
            for part, b in found.parts.items()
            if b.patients
        ]
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
    lines += [f"one training step of {step_sentence(step, found)}" for step in found.training]
    return "\n".join(lines)
