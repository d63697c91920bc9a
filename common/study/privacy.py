"""What patient-level differential privacy means here, in sentences that stand beside every epsilon that is shown."""

UNIT = "patient"

MEANING = (
    "Epsilon bounds what anyone can learn about whether one patient took part in a site's training, whatever else is "
    "known: e to the power of epsilon is the largest factor by which its odds can change, up to a probability of delta."
)

NOT_COVERED = (
    "Figures on test patients are exact, unless privacy.scores is noised: they speak of patients who are never trained "
    "on, over at least min_cell of them and a limited number of times, but whoever chooses the classifier can learn "
    "something of single test patients from them.",
    "That a site takes part, what it holds (organ, contrasts, masks or none), whether it has patients to train and to "
    "test on, and that it refuses, fails or drops out, is seen by others; a refusal or a failure can depend on one "
    "patient's data.",
    "How long a site takes to answer is seen; a step with many patients takes longer than one with few.",
    "Numbers that the hospital declared public (its number of patients) are taken as known.",
    "Trainings at one site alone and their classifiers stay in the hospital; they are not private among its own staff.",
    "Studies that the hospital allows without privacy (without: allow) are bounded by nothing, on the same patients "
    "too.",
    "Who puts the hospital's whole machine back to an earlier state also puts back the account of what was spent, "
    "which is seen once a coordinator brings back what the site gave it to keep; who removes the ledger, its head, "
    "the record of messages, the results, the register of patients and the keys together begins a new account unseen.",
    "A patient has one account in all nodes of a hospital that share the ledger or the register of patients; under "
    "another name, or at a node on another machine that shares neither, the same person counts as another. Nodes that "
    "do not share the ledger's folder have rosters of their own: who tests at one may train at another.",
)
"""What epsilon leaves out."""
