"""Digits: house numbers and handwriting, the networks of the paper's digit experiment, and its recipes."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register domains, networks, the metric and the recipes."""
    from domtrans_digits import domains, metrics, networks, recipes

    registry.domain("street-digits", domains.street_digits)
    registry.domain("mnist-5k", domains.mnist_5k)
    registry.domain("mnist", domains.mnist)
    registry.domain("usps", domains.usps)
    registry.domain("svhn", domains.svhn)
    registry.encoder("digit-encoder", networks.DigitEncoder)
    registry.generator("digit-generator", networks.DigitGenerator)
    registry.discriminator("digit-discriminator", networks.DigitDiscriminator)
    registry.metric("digit-accuracy", metrics.digit_accuracy)
    registry.recipe("digits-dtn", recipes.digits_dtn)
    registry.recipe("digits-dtn-paper", recipes.digits_dtn_paper)
