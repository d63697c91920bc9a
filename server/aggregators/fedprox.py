"""FedProx: averages as FedAvg does; sites pull their weights towards the global ones (Li et al. 2020)."""

from server.aggregators.fedavg import FedAvg


class FedProx(FedAvg):
    """
    Args:
        proximal_mu: weight of the proximal term that sites add to their losses, >= 0.
    """

    def __init__(self, proximal_mu: float) -> None:
        self.proximal_mu = proximal_mu

    def instructions(self) -> dict[str, float]:
        return {"proximal-mu": self.proximal_mu}
