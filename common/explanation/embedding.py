"""How a classifier sees real and synthetic slices: its features in two dimensions, and a figure that goes with them.

A scatter plot of features shows what lies apart and hides how far: distances, areas and densities in a t-SNE mean
nothing, and gaps in it may be made by the method. Whether real and synthetic slices of one class can be told apart from
the features is therefore told as a number too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.figures.figure import Figure
from common.metrics.bootstrap import Estimate, Floats, estimate, patient_weights

COMPONENTS = 30
"""Principal components that the t-SNE starts from, as van der Maaten and Hinton did."""

PERPLEXITY = 30.0
FEWEST = 8
"""Slices below which there is no picture."""

FOLDS = 5


@dataclass(frozen=True)
class Embedding:
    """Features of N slices in two dimensions, twice.

    Attributes:
        pca: (N, 2), the first two principal components of the standardised features.
        explained: (2,) their shares of the variance, 0 to 1.
        tsne: (N, 2), without a unit.
        perplexity: of the t-SNE.
    """

    pca: Floats
    explained: Floats
    tsne: Floats
    perplexity: float


def embed(features: npt.ArrayLike, seed: int) -> Embedding:
    """PCA and t-SNE of one set of features, which must be embedded together to be seen together.

    Each feature is standardised first, since a network's features differ in scale by orders of magnitude. The t-SNE
    sees the first 30 components and starts from the first two, so that it depends little on the seed.

    Args:
        features: (N, D), at least 8 rows.
        seed: the same seed gives the same picture.

    Raises:
        ValueError: for fewer rows, or a value that is not finite.

    Source: van der Maaten and Hinton 2008; start from the components: Kobak and Berens 2019.
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < FEWEST:
        raise ValueError(f"an embedding needs features (N, D) of at least {FEWEST} slices, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("a feature is not finite")
    standard = StandardScaler().fit_transform(rows)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    if not standard.any():
        # Every slice has the same features: one point.
        return Embedding(np.zeros((len(rows), 2)), np.zeros(2), np.zeros((len(rows), 2)), perplexity)
    kept = min(COMPONENTS, *standard.shape)
    pca = PCA(kept, svd_solver="full")
    components = pca.fit_transform(standard)
    first = np.zeros((len(rows), 2))
    first[:, : min(2, kept)] = components[:, :2]
    explained = np.zeros(2)
    explained[: min(2, kept)] = pca.explained_variance_ratio_[:2]
    method = TSNE(
        perplexity=perplexity,
        init=(first / first[:, 0].std() * 1e-4).astype(np.float32),
        learning_rate="auto",
        random_state=seed % 2**32,
        n_jobs=1,
    )
    return Embedding(first, explained, method.fit_transform(components).astype(np.float64), perplexity)


def told_apart(
    features: npt.ArrayLike,
    synthetic: npt.NDArray[np.bool_],
    patient: npt.ArrayLike,
    part: str,
    *,
    samples: int,
    seed: int,
    min_cell: int,
) -> Figure:
    """Balanced accuracy of a logistic regression of synthetic against real, cross-validated over patients.

    A synthetic slice belongs to the patient on whose slice it was built, and all slices of a patient are in one fold:
    surroundings that occur as real and as synthetic cannot be learnt by heart. The interval resamples patients over
    the calls that were made; that another draw of patients would also train another model is not in it.

    Args:
        features: (N, D).
        synthetic: (N,).
        patient: (N,) whose slice it is, or was built on; a slice that belongs to nobody has a name of its own.
        part: ``tumour`` or ``healthy``: which slices these are.
        samples: resamples.
        seed: of the folds and the interval.
        min_cell: fewest patients for an interval.

    Raises:
        ValueError: if lengths differ or a feature is not finite.
    """
    rows = np.asarray(features, dtype=np.float64)
    names, group = np.unique(np.asarray(patient), return_inverse=True)
    if not len(rows) == len(synthetic) == len(group):
        raise ValueError(f"{len(rows)} features, {len(synthetic)} kinds and {len(group)} patients")
    if not np.isfinite(rows).all():
        raise ValueError("a feature is not finite")
    right = _right_calls(rows, synthetic, group, seed)
    behind: dict[str, Any] = {
        "n": len(rows),
        "patients": len(names),
        "conditions": {"real": int((~synthetic).sum()), "synthetic": int(synthetic.sum())},
    }
    if right is None:
        return Estimate(None).figure("two_sample", part, **behind)
    per_patient = np.stack(
        [np.bincount(group, kind * value, len(names)) for kind in (~synthetic, synthetic) for value in (right, 1.0)]
    )
    weights = patient_weights(len(names), samples, seed)
    resampled = _balanced(weights @ per_patient.T)
    value = float(_balanced(per_patient.sum(1)[None])[0])
    return estimate(value, resampled, patients=len(names), min_cell=min_cell).figure("two_sample", part, **behind)


def _right_calls(
    rows: Floats, synthetic: npt.NDArray[np.bool_], group: npt.NDArray[np.int64], seed: int
) -> Floats | None:
    """(N,) 1 where the model of the other folds told a slice right; None where folds cannot be made of both kinds."""
    folds = min(FOLDS, *(len(np.unique(group[kind])) for kind in (synthetic, ~synthetic)))
    if folds < 2:
        return None
    right = np.zeros(len(rows))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    for train, test in splitter.split(rows, synthetic, group):
        if len(np.unique(synthetic[train])) < 2:
            return None
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        right[test] = model.fit(rows[train], synthetic[train]).predict(rows[test]) == synthetic[test]
    return right


def _balanced(counts: Floats) -> Floats:
    """(S,) from (S, 4): right and all of the real slices, right and all of the synthetic ones."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((counts[:, 0] / counts[:, 1] + counts[:, 2] / counts[:, 3]) / 2)
