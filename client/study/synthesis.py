"""The images of a trial: made by the federated generator, and by one of this site alone where an arm needs it."""

from torch import Tensor

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.made import make_private_images
from client.privacy.slices import kept_here
from client.study.arms import images_wanted, keep_images, make_images
from client.study.explanations import prepare_explanations
from client.study.gallery import keep_gallery
from client.training.local_generator import train_alone
from client.training.tuning import tuned
from common.seeding import Label
from common.study.trials import arms_of
from common.training.patients import PatientTrainer


def synthesise(data: SiteData, work: WorkFolder, model: str, arrays: dict[str, Tensor]) -> None:
    """Makes this site's images with a federated generator, and with one of its own if an arm asks for it; they stay
    here.

    Raises:
        RefusalError: if that model makes no slices of its own.
    """
    study = data.study
    trainer = tuned(data, work, model, arrays, "tuning")
    if isinstance(trainer, PatientTrainer):
        # A mask of one patient in another's slice would speak of two.
        trainer.public_masks = study.private
    seed = study.trial_seed(Label.SYNTHESIS, model)
    if study.private:
        make_private_images(data, work, trainer, seed)
    else:
        make_images(data, work, trainer, seed)
    if "local_generator" in arms_of(study.experiment, study.trial):
        own = tuned(data, work, model, train_alone(data, work, model).shared_arrays(), "tuning/alone")
        # The same places and noise: what made the weights is all that differs.
        keep_images(data, work, "local", own.synthesise(kept_here(data), images_wanted(data), seed))
    if not study.trial.name:
        keep_gallery(data, work)
        if not study.private:
            prepare_explanations(data, work, trainer)
