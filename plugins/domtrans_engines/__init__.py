"""Transfer to domains that a drawing engine draws: a differentiable renderer, a generator of parameters, and its losses."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the generator and the losses."""
    from domtrans_engines import generator, losses

    registry.generator("parameters", generator.ParameterGenerator)
    registry.loss("parameter-identity", losses.ParameterIdentity)
    registry.loss("parameter-balance", losses.ParameterBalance)
