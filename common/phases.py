"""The names of a study's phases, which messages, checkpoints and the accounts of privacy share."""


def gan_phase(name: str, run: int, of: str = "") -> str:
    """The phase of one training of a GAN; ``of`` names the trial that it is trained for, its run included.

    >>> gan_phase("cgan", 1), gan_phase("cgan", 2), gan_phase("cgan", 2, "run-2/fold-1")
    ('gan/cgan', 'gan/cgan/run-2', 'gan/cgan/run-2/fold-1')
    """
    if of:
        return f"gan/{name}/{of}"
    return f"gan/{name}" if run == 1 else f"gan/{name}/run-{run}"


def classifier_phase(arm: str) -> str:
    """The phase of the federated classifier of one arm.

    >>> classifier_phase("real")
    'classifier/real'
    """
    return f"classifier/{arm}"
