"""What patient-level differential privacy means here, in sentences that stand beside every epsilon that is shown."""

UNIT = "patient"

MEANING = (
    "Epsilon bounds what anyone can learn about whether one patient took part in a site's training, whatever else is "
    "known: e to the power of epsilon is the largest factor by which its odds can change, up to a probability of delta."
)

NOT_COVERED = (
    "Figures on test patients and cross-site results are not noised: they speak of patients who were not trained on.",
    "That a site takes part, what it holds (organ, contrasts), and that it refuses or drops out, is seen by others.",
    "How long a site takes to answer is seen; a step with many patients takes longer than one with few.",
    "Numbers that the hospital declared public (its number of patients) are taken as known.",
    "Trainings at one site alone and their classifiers stay in the hospital; they are not private among its own staff.",
    "Noise comes from a Mersenne Twister seeded by the operating system, hardened against floating-point attacks; it "
    "is no cryptographic generator.",
    "Who puts the hospital's whole machine back to an earlier state also puts back the account of what was spent, "
    "which is seen once a coordinator brings back what the site gave it to keep; who removes the ledger, its head, "
    "the record of messages, the results, the register of patients and the keys together begins a new account unseen.",
    "A patient has one account in all nodes of a hospital that share the ledger or the register of patients; under "
    "another name, or at a node on another machine that shares neither, the same person counts as another.",
)
"""What epsilon leaves out."""
