"""Proxies: before a model's rounds, each side's sites release synthetic slices once, and the other side gets them all.

The images are the released artefact: the coordinator keeps them beside its checkpoints, so that a resumed run hands out
what an earlier attempt was given.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import StudyError
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, Instruction, check_reply, instruction_record, to_arrays, to_images
from common.protocol.reply_checks import ImagesCheck
from common.study.experiment import Experiment
from common.study.models import Model
from common.system.array_files import read_tensors, write_tensors
from common.training.build import proxy_source
from common.training.families import trainer_module
from common.training.kinds import ProxySource, ProxyTrainer
from common.training.trainer import View
from server.checkpoint import PhaseCheckpoints
from server.exchange import Answers, ask
from server.roster import Member
from server.settings import StudySettings
from server.site_scores import tell_missing

log = logging.getLogger("oncofed.server")

RELEASED = "released.safetensors"
"""The released slices, an array a site, in the phase's folder of checkpoints."""


def proxy_phase(name: str) -> str:
    """The phase in which proxies of a model are released and handed out.

    >>> proxy_phase("cyclegan")
    'proxies/cyclegan'
    """
    return f"proxies/{name}"


def check_proxies(
    experiment: Experiment,
    model: Model,
    members: Sequence[Member],
    views: Mapping[str, View],
    trained: Mapping[str, Mapping[str, View]],
) -> ProxySource | None:
    """Whose slices ``model`` trains beside, known to be enough for every side; None where it needs none.

    Args:
        members: the sites that train it.
        views: what each of them shows it.
        trained: what each site shows the models that are trained before, by model.

    Raises:
        ConfigError: if the proxy model is not one, or not trained before.
        StudyError: if it does not learn one of the sides, or no site of a side may release.
    """
    source = proxy_source(experiment, model.name)
    if source is None:
        return None
    sides = sorted(set(views.values()), key=lambda view: view.name)
    learnt = set(trained[source.model].values())
    lacking = [view.name for view in sides if view not in learnt]
    if lacking:
        domains = ", ".join(f"{{organ: {v.organ}, contrasts: [{', '.join(v.contrasts)}]}}" for v in sides)
        raise StudyError(
            f"models.{model.name}.proxy_model={source.model}: it does not train on {' or '.join(lacking)}, so "
            f"there would be no slices of it to release; write models.{source.model}.domains=[{domains}]"
        )
    for view in sides:
        own = [member for member in members if views[member.site] == view]
        if not any(member.hello.may_release_synthetic for member in own):
            raise StudyError(
                f"models.{model.name}.exchange=proxies: no site may release synthetic slices of {view.name} "
                f"({', '.join(member.site for member in own)}); one of them needs `may_release_synthetic: true` in its "
                "site.yaml, or choose another exchange"
            )
    return source


def exchange_proxies(
    grid: Grid,
    settings: StudySettings,
    model: Model,
    source: ProxySource,
    members: Sequence[Member],
    views: Mapping[str, View],
    weights: Mapping[str, Tensor],
) -> dict[str, int]:
    """Asks every site to release, once, and hands each the pool of the other side.

    A site that does not release trains all the same, as long as its side has slices; one that was not reached is handed
    its pool when the run is resumed.

    Args:
        weights: the chosen round of the proxy model.

    Returns:
        How many slices each site released.

    Raises:
        StudyError: if no site of a side released any, or fewer sites than the quorum took theirs.
    """
    phase = proxy_phase(model.name)
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    settings.progress.phase(phase, 1)
    started = time.monotonic()
    file = checkpoints.folder / RELEASED
    if not file.exists():
        generator = {name: value for name, value in weights.items() if name.startswith("generator")}
        write_tensors(file, _release(grid, settings, model, source, members, views, generator))
    released = read_tensors(file)
    taken: set[str] = set(checkpoints.result() or ())
    waiting = [member for member in members if member.site not in taken]
    if waiting:
        answers = _hand_out(grid, settings, model, waiting, views, released)
        taken |= set(answers.replies)
        checkpoints.finish(sorted(taken))
        quorum = min(settings.experiment.strategy.quorum, len(members))
        if len(taken) < quorum:
            raise StudyError(
                f"{phase}: {len(taken)} of {len(members)} sites took their synthetic slices, {quorum} are needed. "
                f"{_reasons(answers)} Repair those sites and resume the run."
            )
    counts = {site: len(images) for site, images in sorted(released.items())}
    log.info("proxies", extra={"phase": phase, "released": counts, "taken": sorted(taken)})
    settings.progress.advance(
        round=1, contributors=list(counts), losses={}, scores={}, seconds=time.monotonic() - started
    )
    return counts


def _release(
    grid: Grid,
    settings: StudySettings,
    model: Model,
    source: ProxySource,
    members: Sequence[Member],
    views: Mapping[str, View],
    generator: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """The slices of each site that released any."""
    size = settings.experiment.image.size
    arrays = to_arrays(generator)
    released: dict[str, Tensor] = {}

    def check(member: Member, content: RecordDict) -> None:
        shape = (len(views[member.site].contrasts), size, size)
        released[member.site] = ImagesCheck(shape, source.slices, source.slices).read(content)

    answers = _ask(grid, settings, model, Action.RELEASE, {one.site: arrays for one in members}, members, check)
    lacking = sorted({view.name for view in views.values()} - {views[site].name for site in answers.replies})
    if lacking:
        raise StudyError(
            f"{proxy_phase(model.name)}: no site released synthetic slices of {' or '.join(lacking)}. "
            f"{_reasons(answers)} Repair those sites and resume the run."
        )
    return {site: released[site] for site in answers.replies}


def _hand_out(
    grid: Grid,
    settings: StudySettings,
    model: Model,
    members: Sequence[Member],
    views: Mapping[str, View],
    released: Mapping[str, Tensor],
) -> Answers:
    """Gives each of ``members`` the slices of the view it lacks, from all sites in the order of their names."""
    family: type[ProxyTrainer[object]] = trainer_module(model.family).Trainer
    wanted = {member.site: family.proxied_view(model.config, views[member.site]) for member in members}
    pools = {
        view: to_images(torch.cat([released[site] for site in sorted(released) if views[site] == view]))
        for view in set(wanted.values())
    }
    arrays = {site: pools[view] for site, view in wanted.items()}
    return _ask(grid, settings, model, Action.TAKE_PROXIES, arrays, members, lambda member, content: None)


def _ask(
    grid: Grid,
    settings: StudySettings,
    model: Model,
    action: Action,
    arrays: Mapping[str, ArrayRecord],
    members: Sequence[Member],
    check: Callable[[Member, RecordDict], None],
) -> Answers:
    """Asks ``members`` to do ``action`` with their ``arrays``; tells who did not."""
    phase = proxy_phase(model.name)
    experiment = settings.experiment
    instruction = Instruction(run=settings.name, phase=phase, experiment=settings.told, model=model.name)
    questions = {
        member.site: Message(
            RecordDict({CONFIG: instruction_record(instruction), ARRAYS: arrays[member.site]}),
            dst_node_id=member.node_id,
            message_type=action,
        )
        for member in members
    }

    def checked(member: Member, content: RecordDict) -> None:
        check_reply(content, run=settings.name, phase=phase, server_round=0, site=member.site)
        check(member, content)

    answers = ask(
        grid,
        questions,
        members,
        deadline=experiment.strategy.deadline,
        check=checked,
        progress=settings.progress,
    )
    tell_missing(settings, phase, answers)
    for site, reason in answers.missing.items():
        log.warning("missing", extra={"phase": phase, "action": action, "site": site, "reason": reason})
    return answers


def _reasons(answers: Answers) -> str:
    return "".join(f"{site}: {reason}. " for site, reason in answers.missing.items()).strip()
