"""Every metric of a study, once. A new one needs an entry here and the place that computes it, and nothing else:
tables, charts, CSV files, the terminal, TensorBoard, comparisons and cards go over the figures that they are given."""

from common.figures.formatting import AUC, DECIBEL, PERCENT, RATIO, SIMILARITY
from common.figures.metric import Metric

_METRICS = (
    Metric(
        "ssim",
        "SSIM",
        "image",
        "Structural similarity to the real slice, 1 for equal images. Of a whole slice it is mostly black background "
        "and copied surroundings: the part that was generated is what counts.",
        (-1, 1),
        scale=SIMILARITY,
    ),
    Metric(
        "psnr",
        "PSNR",
        "image",
        "Peak signal-to-noise ratio against the real slice. It rewards a smooth mean of all that may be there.",
        (None, 100),
        scale=DECIBEL,
    ),
    Metric(
        "perceptual",
        "perceptual distance",
        "image",
        "Distance from the real slice in the feature maps of a frozen network (LPIPS without its learnt weights, on "
        "EfficientNet-Lite0); 0 for equal slices. Unlike PSNR it does not reward a smooth mean.",
        (0, 4),
        higher_is_better=False,
        scale=SIMILARITY,
    ),
    Metric(
        "nearest_ssim",
        "SSIM to the nearest",
        "image",
        "A slice made from noise against the real slice most like it. High is not good by itself: a copy of a real "
        "slice, or its blurred likeness, scores higher than a real slice of another patient.",
        (-1, 1),
        higher_is_better=None,
        scale=SIMILARITY,
    ),
    Metric(
        "nearest_psnr",
        "PSNR to the nearest",
        "image",
        "As SSIM to the nearest, by squared differences.",
        (None, 100),
        higher_is_better=None,
        scale=DECIBEL,
    ),
    Metric(
        "ms_ssim",
        "MS-SSIM of pairs",
        "set",
        "How alike the images of one set are to each other. Clearly above that of real pairs, the generator makes few "
        "different images; the black background lifts both.",
        (-1, 1),
        higher_is_better=False,
        scale=SIMILARITY,
    ),
    Metric(
        "cycle_ssim",
        "SSIM after the return",
        "image",
        "A slice against itself after translation there and back. It says that nothing was lost, not that anything "
        "was translated: a generator that changes nothing reaches 1.",
        (-1, 1),
        scale=SIMILARITY,
    ),
    Metric(
        "cycle_psnr",
        "PSNR after the return",
        "image",
        "As SSIM after the return, by squared differences.",
        (None, 100),
        scale=DECIBEL,
    ),
    Metric(
        "frechet",
        "Fréchet distance",
        "set",
        "Distance between the features of generated and of real images, as two normal distributions; called FID with "
        "the standard Inception features only. It is biased upward at small n: compare it with the distance between "
        "two real samples of the same n, not with zero.",
        (0, None),
        higher_is_better=False,
    ),
    Metric(
        "frechet_normalised",
        "normalised distance",
        "set",
        "The Fréchet distance on a scale: 0 is as near as real images of other patients, 1 as far as blurred real "
        "images, and worse lies above 1. A dash: these features cannot tell the two apart at this n.",
        higher_is_better=False,
        scale=RATIO,
    ),
    Metric(
        "kernel",
        "kernel distance",
        "set",
        "Distance between the same sets by a polynomial kernel; called KID with the standard Inception features only. "
        "Not biased by n, and therefore sometimes below zero; several slices of one patient lift it, for real images "
        "too.",
        higher_is_better=False,
    ),
    Metric(
        "sliced_wasserstein",
        "sliced Wasserstein distance",
        "set",
        "Distance between small patches of generated and real images at several scales, times 1,000. It needs no "
        "network and sees texture; compare it with the distance between two real samples of the same n.",
        (0, None),
        higher_is_better=False,
    ),
    Metric(
        "manifold_precision",
        "precision of images",
        "set",
        "Share of the generated images that lie among real ones. Images that are good but all alike have precision "
        "and no recall.",
        (0, 1),
        scale=RATIO,
    ),
    Metric(
        "manifold_recall",
        "recall of images",
        "set",
        "Share of the real images that lie among the generated.",
        (0, 1),
        scale=RATIO,
    ),
    Metric(
        "density",
        "density",
        "set",
        "As precision, with less weight on outliers: in how many real neighbourhoods an image lies, 1 on average for "
        "real ones.",
        (0, None),
        scale=RATIO,
    ),
    Metric(
        "coverage",
        "coverage",
        "set",
        "As recall, with less weight on outliers: what share of the real neighbourhoods hold a generated image.",
        (0, 1),
        scale=RATIO,
    ),
    Metric(
        "accuracy",
        "accuracy",
        "classifier",
        "Share of the slices that are classified correctly at probability 0.5.",
        (0, 1),
        scale=PERCENT,
        leaves=True,
    ),
    Metric(
        "precision",
        "precision",
        "classifier",
        "Share of the slices called tumour that show one, at probability 0.5.",
        (0, 1),
        scale=PERCENT,
        leaves=True,
    ),
    Metric(
        "recall",
        "recall",
        "classifier",
        "Share of the tumour slices that are called tumour, at probability 0.5.",
        (0, 1),
        scale=PERCENT,
        leaves=True,
    ),
    Metric("f1", "F1", "classifier", "Harmonic mean of precision and recall.", (0, 1), scale=PERCENT, leaves=True),
    Metric(
        "auc",
        "AUC",
        "classifier",
        "Area under the ROC curve; it does not depend on a threshold.",
        (0, 1),
        scale=AUC,
        leaves=True,
    ),
    Metric(
        "sensitivity",
        "sensitivity",
        "classifier",
        "Recall at the threshold that keeps a fixed specificity; the threshold is found on the test slices themselves.",
        (0, 1),
        scale=PERCENT,
        leaves=True,
    ),
    Metric(
        "brier",
        "Brier score",
        "classifier",
        "Mean squared difference of probability and truth.",
        (0, 1),
        higher_is_better=False,
        scale=SIMILARITY,
        leaves=True,
    ),
    Metric(
        "calibration_error",
        "calibration error",
        "classifier",
        "Expected calibration error over bins of equally many slices. It is biased upward where a bin holds few "
        "slices, and compares classifiers that were tested on the same patients only.",
        (0, 1),
        higher_is_better=False,
        scale=SIMILARITY,
        leaves=True,
    ),
    Metric(
        "attention",
        "attention on the lesion",
        "classifier",
        "Share of Grad-CAM's mass inside the lesion; by chance: of a map spread evenly over the foreground.",
        (0, 1),
        scale=PERCENT,
        leaves=True,
    ),
    Metric(
        "called_tumour",
        "healthy slices called tumour",
        "classifier",
        "Share of healthy test slices called tumour, as they are and with a region refilled by the generator without "
        "a lesion.",
        (0, 1),
        higher_is_better=False,
        scale=PERCENT,
        leaves=True,
    ),
    Metric(
        "two_sample",
        "two-sample test",
        "classifier",
        "Balanced accuracy of a logistic regression of synthetic against real slices on the classifier's features, "
        "cross-validated over patients: 0.5 where the two cannot be told apart, 1 where every one can.",
        (0, 1),
        higher_is_better=False,
        scale=AUC,
    ),
)

METRICS: dict[str, Metric] = {one.key: one for one in _METRICS}
"""By key, in the order in which tables show them."""

REFERENCES: dict[str, str] = {
    "real": "real slices of other patients",
    "blurred": "blurred real slices",
    "biharmonic": "biharmonic inpainting",
    "unchanged": "unchanged slices",
    "real_only": "real images only",
    "chance": "spread evenly",
    "untouched": "untouched",
}
"""What a figure is compared with, by the key under which it stands; titles for readers."""

PARTS: dict[str, str] = {
    "": "whole slice",
    "foreground": "foreground",
    "lesion": "lesion",
    "chance": "by chance",
    "untouched": "untouched",
    "refilled": "refilled",
    "tumour": "slices with a tumour",
    "healthy": "healthy slices",
}
"""Which part of a slice, or which slices, a figure is of."""
