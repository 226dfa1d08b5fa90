"""Alternative encoders f, from libraries of trained networks."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the encoders."""
    from domtrans_encoders import timm_models

    registry.encoder("timm", timm_models.TimmEncoder)
