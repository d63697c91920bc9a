"""What a study did not measure, and which key would have it measured."""

from common.figures.formatting import listed
from common.results.classifier import EXTERNAL
from common.results.study import Results
from server.report.findings import arms


def not_measured(results: Results, *, pictures: bool, explained: bool) -> list[str]:
    """One line for everything that the report leaves out because these results do not hold it.

    Args:
        pictures: whether there are pictures of the reference set.
        explained: whether the run kept how its classifier sees the reference set.
    """
    scores = [one for by_arm in results.arms.values() for one in by_arm.values()]
    lines: list[str] = []

    def unless(measured: object, line: str) -> None:
        if not measured:
            lines.append(line)

    unless(results.sites, "No site had said hello when these results were written.")
    unless(results.gans, "No generator was trained in this run (model=[cgan]).")
    if results.gans:
        unless(pictures, "No pictures of the reference set were kept (evaluation.gallery).")
        unless(all(gan.final for gan in results.gans.values()), _unscored(results))
    unless(scores, "No arm of the classifier study was scored (study.arms), or the run had not got that far.")
    unless(results.gains, "No gain over real images was measured: that needs real among study.arms.")
    lines.extend(_repetitions(results))
    if scores:
        unless(
            "local_generator" in arms(results),
            "A generator trained at each site alone (local_generator in study.arms).",
        )
        unless(
            EXTERNAL in {*results.arms, *(one.scope for one in results.gains)},
            "External centres: a site with roles: [evaluate] in its site.yaml.",
        )
        unless(any(one.get("attention") for one in scores), "The share of Grad-CAM's mass inside lesions.")
        unless(
            any(one.get(("called_tumour", "refilled")) for one in scores),
            "Refilled healthy slices: these need a generator that inserts lesions.",
        )
    unless(
        results.cross_site,
        "No cross-site evaluation: sites share their own classifiers with share_site_model in site.yaml.",
    )
    unless(
        explained,
        "This run kept no picture of how its federated classifier sees the reference set: it trained none "
        "(study.federated_arms), or had not got that far.",
    )
    unless(results.privacy, "Privacy: privacy=patient_dp trains with differential privacy and keeps the account.")
    if results.privacy is not None:
        unless(results.privacy.audit, "No audit was made of this run: oncofed-simulation audit-privacy run=FOLDER.")
    unless(results.timings, "No timings were recorded.")
    return lines


def _unscored(results: Results) -> str:
    names = listed(name for name, gan in results.gans.items() if not gan.final)
    return f"{names}: not scored on the final part of the reference set, as the run had not chosen a round."


def _repetitions(results: Results) -> list[str]:
    if results.privacy is not None:
        return ["Folds, curves and repeated runs: not with privacy=patient_dp, as each would cost its own epsilon."]
    kinds = {one.kind for one in results.repeated}
    found = []
    if not results.repeated:
        found.append("These results hold no repetitions of the classifier study (study.runs).")
    if not results.comparisons:
        found.append("No arm was tested against another: that needs a cross-validation, e.g. study.folds=5.")
    if "patients" not in kinds:
        found.append("Fewer training patients: the study did not vary it, e.g. study.curve=[4,8].")
    if "ratio" not in kinds:
        found.append("More or fewer synthetic slices: the study did not vary it, e.g. study.ratios=[0.5,2].")
    return found
