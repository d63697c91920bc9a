"""Who took part in the training of a GAN: a sentence, and a table of rounds and sites where it is worth one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.figures.formatting import listed, plural
from common.report.tables import Table, word
from common.results.study import GanResult, GanRound, Results, SiteEntry
from server.site_weights import shares_told

EXCHANGES = {
    "average": "Every round the sites train from the same weights, and the coordinator averages what they send back.",
    "gradients": "At every step the sites send gradients, which the coordinator sums and applies; gradients of single "
    "batches can be inverted into images, so this exchange is for simulation.",
    "proxies": "Weights are averaged every round; each side trains its discriminator against translations of synthetic "
    "slices that the other side released once.",
}
"""How sites train together, by ``GanResult.exchange``."""


def exchange_in_words(gan: GanResult) -> str:
    """A sentence, and what was released; the bare name of an exchange that is not known here."""
    sentence = EXCHANGES.get(gan.exchange, f"Exchange between sites: {gan.exchange}.")
    if not gan.released:
        return sentence
    return f"{sentence} Synthetic slices released: {listed(f'{n} by {site}' for site, n in gan.released.items())}."


@dataclass(frozen=True)
class Participation:
    """Who took part in the rounds: a sentence, and a table of rounds and sites where it is worth one."""

    sentence: str
    table: Table | None


def participation(gan: GanResult, sites: Mapping[str, SiteEntry]) -> Participation:
    """Contributors, refusals and silence by round.

    A site is expected if it could take part in this GAN, or if it ever answered. Results that do not say who could:
    if it said at hello that it trains.
    """
    seen = {s for r in gan.rounds for s in (*r.contributors, *(refusal.site for refusal in r.refused))}
    training = [name for name, entry in sites.items() if "train" in entry.roles]
    able = gan.sites or training
    expected = [name for name in sites if name in able or name in seen]
    expected += sorted(seen - set(expected))
    if not gan.rounds:
        return Participation("No round was finished.", None)
    found = _counted(gan, expected)
    if shares := shares_told(gan.runs[0].shares if gan.runs else []):
        found = replace(found, sentence=f"{found.sentence} Shares in the average: {shares}.")
    left_out = [name for name in training if name not in expected]
    if not left_out:
        return found
    return replace(found, sentence=f"{found.sentence} No part in it: {listed(left_out)}, as said under Sites.")


def silent_sites(results: Results) -> list[str]:
    """One sentence a site and reason: what the study went on without, rounds apart."""
    phases: dict[tuple[str, str], list[str]] = {}
    for phase, sites in results.silent.items():
        for site, reason in sites.items():
            phases.setdefault((site, reason), []).append(phase)
    return [f"{site} ({listed(phases[site, reason])}): {reason}" for site, reason in sorted(phases)]


def _counted(gan: GanResult, expected: Sequence[str]) -> Participation:
    if all(set(r.contributors) >= set(expected) and not r.refused for r in gan.rounds):
        sentence = (
            f"All {plural(len(expected), 'training site')} ({', '.join(expected)}) contributed to each of "
            f"{plural(len(gan.rounds), 'round')}; no reply was refused."
        )
        return Participation(sentence, None)
    missing = sum(len(set(expected) - set(r.contributors)) for r in gan.rounds)
    refused = sum(len(r.refused) for r in gan.rounds)
    sentence = (
        f"Of {len(expected) * len(gan.rounds)} expected contributions ({plural(len(expected), 'site')}, "
        f"{plural(len(gan.rounds), 'round')}), {missing} did not count: {refused} refused, "
        f"{missing - _refused_and_absent(gan.rounds)} without a reply."
    )
    rows = [[word(str(r.round)), *(word(_part(site, r)) for site in expected)] for r in gan.rounds]
    return Participation(sentence, Table("Contributions by round", ["round", *expected], rows))


def _refused_and_absent(rounds: Sequence[GanRound]) -> int:
    return sum(len({refusal.site for refusal in r.refused} - set(r.contributors)) for r in rounds)


def _part(site: str, r: GanRound) -> str:
    reasons = [refusal.reason for refusal in r.refused if refusal.site == site]
    if reasons:
        return f"refused: {'; '.join(reasons)}"
    return "yes" if site in r.contributors else "no reply"
