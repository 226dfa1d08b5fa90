"""Contract checks for plugin authors, to call from any test framework::

    import my_plugin
    from domtrans import load_plugins
    from domtrans.testing import check_domain

    def test_domain():
        check_domain(load_plugins(my_plugin, only=()), "my-domain", count=100)

A check takes a registry and a name, or the class or function itself, and the options of the part. It raises
AssertionError for the first contract that does not hold, with the finding, the contract, and its place in the reference.
"""

from domtrans.testing.contracts import CONTRACTS as CONTRACTS
from domtrans.testing.data import check_augmentation as check_augmentation
from domtrans.testing.data import check_domain as check_domain
from domtrans.testing.detection import check_detector as check_detector
from domtrans.testing.engines import check_engine as check_engine
from domtrans.testing.losses import check_distance as check_distance
from domtrans.testing.losses import check_loss as check_loss
from domtrans.testing.losses import example_outputs as example_outputs
from domtrans.testing.networks import check_discriminator as check_discriminator
from domtrans.testing.networks import check_encoder as check_encoder
from domtrans.testing.networks import check_generator as check_generator
from domtrans.testing.optimizers import check_optimizer as check_optimizer
from domtrans.testing.runs import check_fit as check_fit
from domtrans.testing.runs import check_metric as check_metric
from domtrans.testing.runs import check_recipe as check_recipe
from domtrans.testing.runs import example_images as example_images
from domtrans.testing.studies import check_study as check_study
from domtrans.testing.tracking import check_tracker as check_tracker
