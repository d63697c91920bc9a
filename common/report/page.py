"""The page around a report: one HTML file that opens offline, with its style sheet inside."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from common.errors import OncofedError
from common.system.outside import on_page

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may do, as its Content-Security-Policy: show what it holds, fetch, run and send nothing. A page with a
script may run that one, which is named by its hash, and no other."""


class ReportError(OncofedError):
    """A report cannot be made from what is in the folder; nothing was written."""


@dataclass(frozen=True)
class Section:
    """One heading of the page and its entry in the contents list."""

    anchor: str
    title: str


@dataclass(frozen=True)
class Pair:
    """A name and a value, for lists of facts."""

    name: str
    value: str


def render_page(
    package: str,
    template: str,
    sections: Sequence[Section],
    *,
    script: str = "",
    listens: bool = False,
    **context: Any,
) -> str:
    """A page from ``template`` in ``package``, which extends ``page.html``.

    Args:
        package: the import name whose folder holds the template, e.g. ``server.report``.
        template: its file name.
        sections: headings in order; templates open each with ``parts.heading(titles, anchor)``.
        script: the name of a file in ``package`` that the page runs, in ASCII; empty for a page that runs nothing.
        listens: whether the script may connect to where the page came from; to nothing else it ever may.
        context: what the template names.

    Everything in ``context`` is escaped unless it is ``Markup``; a name that the template uses and that is not given
    is an error.
    """
    style = Markup(files("common.report").joinpath("style.css").read_text(encoding="utf-8"))
    code = files(package).joinpath(script).read_text(encoding="ascii") if script else ""
    policy = f"{POLICY}; script-src '{_digest(code)}'" if code else POLICY
    policy += "; connect-src 'self'" if listens else ""
    titles = {section.anchor: section.title for section in sections}
    given = {"style": style, "policy": Markup(policy), "script": Markup(code), "sections": sections, "titles": titles}
    return render_part(package, template, **given, **context)


def render_part(package: str, template: str, **context: Any) -> Markup:
    """A piece of a page from ``template`` in ``package``; see :func:`render_page`."""
    return Markup(on_page(_environment(package).get_template(template).render(**context)))


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("common.report", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _digest(code: str) -> str:
    """How a Content-Security-Policy names a script that stands in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}"


def as_yaml(tree: Mapping[str, Any]) -> str:
    """A resolved config as text."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)
