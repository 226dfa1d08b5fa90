"""Digits: house numbers and handwriting, the networks of the paper's digit experiment, and its recipes."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register domains, networks, metrics, recipes and the study."""
    from domtrans_digits import adaptation, domains, losses, metrics, networks, realism, recipes, resnet, study

    registry.domain("street-digits", domains.street_digits)
    registry.domain("mnist-5k", domains.mnist_5k)
    registry.domain("mnist", domains.mnist)
    registry.domain("usps", domains.usps)
    registry.domain("svhn", domains.svhn)
    registry.encoder("digit-encoder", networks.DigitEncoder)
    registry.encoder("digit-resnet", resnet.DigitResNet)
    registry.generator("digit-generator", networks.DigitGenerator)
    registry.generator("digit-image-generator", networks.DigitImageGenerator)
    registry.discriminator("digit-discriminator", networks.DigitDiscriminator)
    registry.loss("oracle-consistency", losses.OracleConsistency)
    registry.metric("digit-accuracy", metrics.digit_accuracy)
    registry.metric("digit-realism", realism.digit_realism)
    registry.metric("f-consistency", metrics.f_consistency)
    registry.metric("adaptation-accuracy", adaptation.adaptation_accuracy)
    registry.recipe("digits-dtn", recipes.digits_dtn)
    registry.recipe("svhn-dtn", recipes.svhn_dtn)
    registry.recipe("digits-dtn-paper", recipes.digits_dtn_paper)
    registry.recipe("mnist-to-street", recipes.mnist_to_street)
    registry.recipe("svhn-to-street", recipes.svhn_to_street)
    registry.recipe("street-to-svhn", recipes.street_to_svhn)
    registry.recipe("usps-to-mnist", recipes.usps_to_mnist)
    registry.recipe("mnist-to-usps", recipes.mnist_to_usps)
    registry.study("digits", study.digits)
