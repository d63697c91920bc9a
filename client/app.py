"""The Flower ClientApp of a hospital: thin handlers, one a named action.

Whatever goes wrong is logged here in full and answered with a short reason that gives nothing away: Flower would
send an exception's text to the coordinator.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from pydantic import BaseModel

from client.approval.questions import require_signed
from client.audit.log import AuditError, AuditLog
from client.audit.message import asked_fields, instruction_fields, sent_sizes
from client.data.open_studies import OpenStudies
from client.data.request import Request
from client.hello.introduction import declared_examples, introduce
from client.policy.limits import out_of_memory, set_limits
from client.policy.rules import require_action, require_exchange, require_hours, require_model
from client.privacy.admission import admitted, require_declared_answer, silently
from client.privacy.binding import require_bound
from client.privacy.statement import ledger_fields, privacy_statement
from client.site import SiteSettings
from client.study import trial
from client.study.synthesis import synthesise
from client.training import proxies, rounds
from common.errors import ConfigError, DataError, DiskFullError, NotNowError, OncofedError, PrivacyError, RefusalError
from common.protocol.actions import FAILED, NO_SITE, NOT_NOW, Action
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    UnacceptableError,
    read_instruction,
    received_arrays,
    reply_record,
    to_arrays,
    to_images,
    training_metrics,
)
from common.results.classifier import SiteArms
from common.system.array_files import read_tensors
from common.system.disk import DISK_FULL, FULL
from common.system.logs import open_json_log

SITE_CONFIG = "site-config"
"""The SuperNode's node-config key that names this hospital's ``site.yaml``."""

Handler = Callable[[Request, RecordDict], RecordDict]

Gate = Callable[[Path, SiteSettings, Message, Context], None]
"""Refuses a message before anything is done with it; told the site's file and settings, the message and the node."""


def open_gate(site: Path, settings: SiteSettings, message: Message, context: Context) -> None:
    """Lets every message in: where sites are simulated, none comes from elsewhere."""


def site_from_node_config(context: Context) -> Path:
    """Where this node's ``site.yaml`` is, as the hospital told its SuperNode; no message can change it."""
    path = context.node_config.get(SITE_CONFIG)
    if not isinstance(path, str):
        raise ConfigError(
            f"this node has no site: start the SuperNode with --node-config \"{SITE_CONFIG}='…/site.yaml'\""
        )
    return Path(path)


def make_app(
    locate_site: Callable[[Context], Path], studies: OpenStudies | None = None, gate: Gate = open_gate
) -> ClientApp:
    """The ClientApp.

    Args:
        locate_site: finds the ``site.yaml`` of the node that a message is for.
        studies: opens the study of a message; the hospital's own unless made-up patients are to be read.
        gate: what a message has to pass first.
    """
    app = ClientApp()
    studies = studies or OpenStudies()

    def action(handler: Handler) -> Callable[[Message, Context], Message]:
        return lambda message, context: _answer(handler, studies, locate_site, gate, message, context)

    app.query("hello")(action(_hello))
    app.train("gan")(action(_train_gan))
    app.query("synthesise")(action(_synthesise))
    app.evaluate("arms")(action(_arms))
    app.query("site_model")(action(_site_model))
    app.train("classifier")(action(_train_classifier))
    app.evaluate("classifier")(action(_evaluate))
    app.query("release")(action(_release))
    app.query("proxies")(action(_take_proxies))
    app.query("privacy")(action(_privacy))
    return app


def _answer(
    handler: Handler,
    studies: OpenStudies,
    locate_site: Callable[[Context], Path],
    gate: Gate,
    message: Message,
    context: Context,
) -> Message:
    """Runs ``handler`` at the site the message is for; a failure becomes a safe reason."""
    with ExitStack() as opened:
        try:
            site = locate_site(context)
            settings = studies.settings(site)
            log = opened.enter_context(open_json_log(settings.folder / "log.jsonl", f"oncofed.client.{settings.name}"))
        except (OncofedError, OSError):
            logging.getLogger("oncofed.client").exception("no usable site.yaml, or no log that can be written")
            return Message(Error(code=NO_SITE, reason="the site's own settings cannot be used"), reply_to=message)
        audit = studies.audit(settings)
        try:
            return _audited(handler, studies, settings, message, audit, lambda: gate(site, settings, message, context))
        except AuditError:
            # Also where the work is done: a reply that cannot be written down does not leave.
            log.exception("not answered")
            reason = f"{settings.name}: it cannot write down what it answers; its own log says why"
            return Message(Error(code=FAILED, reason=reason), reply_to=message)


def _audited(
    handler: Handler,
    studies: OpenStudies,
    settings: SiteSettings,
    message: Message,
    audit: AuditLog,
    let_in: Callable[[], None],
) -> Message:
    """Runs ``handler`` between two entries in the audit log, if ``let_in`` does not refuse the message.

    Raises:
        AuditError: if one of them cannot be written.
    """
    log = settings.log
    fields = asked_fields(message)
    try:
        let_in()
        instruction = read_instruction(message.content)
    except Exception as error:
        log.exception("failed")
        audit.write("asked", flush=False, **fields)
        return _failed(error, settings, message, audit)
    fields |= instruction_fields(instruction)
    audit.write("asked", flush=False, **fields)
    try:
        log.info("asked", extra={"fields": fields})
        action = message.metadata.message_type
        require_action(settings, action)
        require_hours(settings, action, datetime.now())
        if settings.threads:
            torch.set_num_threads(settings.threads)
        study = studies.open(settings, instruction.experiment, instruction.run)
        if action != Action.TRAIN_GAN:
            studies.let_trainers_go()
        set_limits(settings)
        require_bound(study.study, study.work)
        require_model(study.study, instruction.model)
        require_exchange(study.study, action, instruction.model)
        with admitted(study.request(instruction), action, message.content) as request:
            content = handler(request, message.content)
            require_declared_answer(request.study, action, content)
        charged = ledger_fields(study.study, action)
        log.info("answered", extra={"fields": {**fields, "records": sorted(content)}})
    except Exception as error:
        log.exception("failed")
        return _failed(error, settings, message, audit)
    audit.write("answered", flush=True, message=fields["message"], sent=sent_sizes(content), **charged)
    return Message(content, reply_to=message)


def _failed(error: Exception, settings: SiteSettings, message: Message, audit: AuditLog) -> Message:
    """An answer with a safe reason, and the entry that says so."""
    reason = _safe_reason(error)
    event = "refused" if isinstance(error, RefusalError | UnacceptableError) else "failed"
    audit.write(event, message=message.metadata.message_id, reason=reason, cause=type(error).__name__)
    code = NOT_NOW if isinstance(error, NotNowError) else FAILED
    return Message(Error(code=code, reason=f"{settings.name}: {reason}"), reply_to=message)


def _safe_reason(error: Exception) -> str:
    """A reason without paths, names, counts or values."""
    if isinstance(error, RefusalError | UnacceptableError):
        return str(error)
    if isinstance(error, PrivacyError):
        return "no privacy guarantee can be given for this training; its own log says why"
    if isinstance(error, DataError):
        return "its data cannot be used; its own log says why"
    if isinstance(error, ConfigError):
        return "its settings do not fit this study; its own log says why"
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in FULL):
        return DISK_FULL
    if out_of_memory(error):
        return "it ran out of memory"
    return "it failed; its own log says why"


def _content(request: Request, result: BaseModel | None = None) -> RecordDict:
    return RecordDict({CONFIG: reply_record(request.instruction, request.study.settings.name, result)})


def _hello(request: Request, content: RecordDict) -> RecordDict:
    return _content(request, introduce(request.data, request.work, request.instruction.witness))


def _train_gan(request: Request, content: RecordDict) -> RecordDict:
    return _trained(request, rounds.train_gan(request, received_arrays(content)))


def _train_classifier(request: Request, content: RecordDict) -> RecordDict:
    return _trained(request, rounds.train_classifier(request, received_arrays(content)))


def _trained(request: Request, update: rounds.Update) -> RecordDict:
    reply = _content(request)
    reply[ARRAYS] = to_arrays(update.arrays)
    # A private training has no losses to tell: they are means over patients, without noise.
    reply[METRICS] = training_metrics(declared_examples(request.data.first), update.losses)
    return reply


def _synthesise(request: Request, content: RecordDict) -> RecordDict:
    arrays = received_arrays(content)
    with silently(request.study):
        synthesise(request.data, request.work, request.instruction.model, arrays)
    return _content(request)


def _arms(request: Request, content: RecordDict) -> RecordDict:
    told = SiteArms(arms={})
    with silently(request.study):
        told = trial.run_arms(request.data, request.work, request.test)
    return _content(request, told)


def _site_model(request: Request, content: RecordDict) -> RecordDict:
    if not request.study.settings.share_site_model or request.study.private:
        raise RefusalError("it does not share its own model")
    reply = _content(request)
    arm = request.instruction.arm or trial.REAL
    if arm not in trial.TRAVELLING:
        raise RefusalError("it keeps no model of this arm")
    file = request.work.site_model(arm)
    if not file.exists():
        raise RefusalError("it has trained no model of this arm")
    trial.count_behind_site_model(request.work, arm, request.behind)
    reply[ARRAYS] = to_arrays(read_tensors(file))
    return reply


def _evaluate(request: Request, content: RecordDict) -> RecordDict:
    return _content(request, trial.evaluate_model(request, received_arrays(content)))


def _privacy(request: Request, content: RecordDict) -> RecordDict:
    return _content(request, privacy_statement(request.study, request.work))


def _release(request: Request, content: RecordDict) -> RecordDict:
    reply = _content(request)
    made = proxies.release(request.study, request.work, request.instruction.model, received_arrays(content))
    reply[ARRAYS] = to_images(made)
    return reply


def _take_proxies(request: Request, content: RecordDict) -> RecordDict:
    proxies.take(request.study, request.work, request.instruction.model, content)
    return _content(request)


app = make_app(site_from_node_config, gate=require_signed)
