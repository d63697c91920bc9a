"""The page around a report: one HTML file that opens offline, with its style sheet inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from common.errors import OncofedError
from common.outside import on_page

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may do, as its Content-Security-Policy: show what it holds, fetch, run and send nothing."""


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


def render_page(package: str, template: str, sections: Sequence[Section], **context: Any) -> str:
    """A page from ``template`` in ``package``, which extends ``page.html``.

    Args:
        package: the import name whose folder holds the template, e.g. ``server.report``.
        template: its file name.
        sections: headings in order; templates open each with ``parts.heading(titles, anchor)``.
        context: what the template names.

    Everything in ``context`` is escaped unless it is ``Markup``; a name that the template uses and that is not given
    is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("common.report", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(files("common.report").joinpath("style.css").read_text(encoding="utf-8"))
    titles = {section.anchor: section.title for section in sections}
    page = environment.get_template(template).render(
        style=style, policy=Markup(POLICY), sections=sections, titles=titles, **context
    )
    return on_page(page)


def as_yaml(tree: Mapping[str, Any]) -> str:
    """A resolved config as text."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)
