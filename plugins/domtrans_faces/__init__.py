"""Faces: drawn avatars and portraits with their attributes, and photographs of people by identity."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the domains."""
    from domtrans_faces import avatars, celeba, people, portraits

    registry.domain("avatars", avatars.avatars)
    registry.domain("portraits", portraits.portraits)
    registry.domain("lfw", people.lfw)
    registry.domain("celeba", celeba.celeba)
    registry.domain("ms-celeb", people.ms_celeb)
