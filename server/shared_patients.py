"""Patients of two hospitals, known by nothing but equal hashes: they would count twice, or test what has seen them."""

from collections.abc import Sequence
from itertools import combinations

from common.errors import StudyError
from common.figures.formatting import listed, plural
from common.study.progress import StudyProgress
from server.roster import Member, Roster


def shared_between(members: Sequence[Member]) -> dict[tuple[str, str], int]:
    """How many hashes two sites' lists have in common, for each two whose hospitals used the same key."""
    sent = {member.site: member.hello.shared for member in members}
    return {
        (one, other): len(set(first.tokens) & set(second.tokens))
        for (one, first), (other, second) in combinations(sorted(sent.items()), 2)
        if first is not None and second is not None and first.key == second.key
    }


def require_own_patients(roster: Roster, progress: StudyProgress) -> None:
    """Ends a study in which two sites have patients in common, before anything is trained; tells what was compared.

    Raises:
        StudyError: naming the sites, the numbers and the key.
    """
    senders = sorted(member.site for member in roster.members if member.hello.shared is not None)
    if not senders:
        return
    compared = shared_between(roster.members)
    found = {pair: count for pair, count in compared.items() if count}
    if found:
        told = "; ".join(f"{one} and {other} share {plural(n, 'patient')}" for (one, other), n in sorted(found.items()))
        raise StudyError(
            f"{told}, by the hashes that their hospitals compare (shared_patients_key in site.yaml). They would count "
            "twice, or test what has learnt from them. Let one of the two leave them out (its site.yaml lists "
            "those that take part under patients), and resume the run"
        )
    for one, other in compared:
        progress.message(f"{one} and {other}: no patient in common, by the hashes that their hospitals compare")
    alone = [site for site in senders if not any(site in pair for pair in compared)]
    if alone:
        progress.message(
            f"{listed(alone)}: patients compared with nobody's, as no other site has the same shared_patients_key"
        )
    apart = [pair for pair in combinations(senders, 2) if pair not in compared and not {*pair} & {*alone}]
    for one, other in apart:
        progress.message(f"{one} and {other}: patients not compared, their shared_patients_key differs")
