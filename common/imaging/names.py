"""The names that settings may hold (of organs, of what an image shows), and the labels of a tumour."""

ORGANS = ("brain", "lung", "liver")
CONTRASTS = ("t1", "t1ce", "t2", "flair", "ct")
"""What one channel of an image shows. The first four are MRI, the last is CT in Hounsfield units."""

LESION_LABELS = (1, 2, 4)
"""Label values that count as tumour, with their BraTS meaning: 1 necrotic core (any other organ: the lesion),
2 oedema, 4 enhancing tumour. Value 3 never occurs: the 2023 naming is mapped to 4 by the reader."""
