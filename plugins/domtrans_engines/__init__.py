"""Transfer to domains that a drawing engine draws: a differentiable renderer, a generator of parameters, and its losses."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the generator, its losses, and what reads parameters from images."""
    from domtrans_engines import artefacts, generator, losses, reader

    registry.generator("parameters", generator.ParameterGenerator)
    registry.loss("parameter-identity", losses.ParameterIdentity)
    registry.loss("parameter-balance", losses.ParameterBalance)
    registry.encoder("parameter-reader", reader.ParameterReader)
    registry.augmentation("smear", artefacts.smear)
    registry.augmentation("speckle", artefacts.speckle)
