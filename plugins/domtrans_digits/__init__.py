"""Digits: domains of house numbers and handwriting, networks, metrics and recipes of the paper's digit experiment."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register domains, networks, metrics, recipes and the study."""
    from domtrans_digits import losses, recipes
    from domtrans_digits.domains import digits, readers
    from domtrans_digits.metrics import accuracy, adaptation, realism
    from domtrans_digits.networks import dtn, resnet
    from domtrans_digits.study import study

    registry.domain("street-digits", digits.street_digits)
    registry.domain("mnist-5k", digits.mnist_5k)
    registry.domain("mnist", digits.mnist, reader=readers.MnistReader())
    registry.domain("usps", digits.usps, reader=readers.UspsReader())
    registry.domain("svhn", digits.svhn, reader=readers.SvhnReader())
    registry.encoder("digit-encoder", dtn.DigitEncoder)
    registry.encoder("digit-resnet", resnet.DigitResNet)
    registry.generator("digit-generator", dtn.DigitGenerator)
    registry.generator("digit-image-generator", dtn.DigitImageGenerator)
    registry.discriminator("digit-discriminator", dtn.DigitDiscriminator)
    registry.loss("oracle-consistency", losses.OracleConsistency)
    registry.metric("digit-accuracy", accuracy.digit_accuracy, values=accuracy.VALUES)
    registry.metric("digit-realism", realism.digit_realism)
    registry.metric("f-consistency", accuracy.f_consistency)
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
