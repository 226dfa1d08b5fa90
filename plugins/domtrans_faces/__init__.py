"""Faces: drawn avatars and portraits with their attributes, and photographs of people by identity."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the domains, the networks, the metrics, the recipes and the study."""
    from domtrans_faces import (
        attributes,
        avatars,
        celeba,
        colours,
        distances,
        likeness,
        metrics,
        metrics_identity,
        metrics_reading,
        networks,
        people,
        portraits,
        probe,
        recipes,
        study,
    )

    registry.domain("avatars", avatars.avatars)
    registry.domain("portraits", portraits.portraits)
    registry.domain("lfw", people.lfw)
    registry.domain("celeba", celeba.celeba)
    registry.domain("ms-celeb", people.ms_celeb)
    registry.encoder("attributes", attributes.AttributeEncoder)
    registry.encoder("attribute-probe", probe.AttributeProbe)
    registry.encoder("colour-grid", colours.ColourGrid)
    registry.generator("face-generator", networks.FaceGenerator)
    registry.discriminator("face-discriminator", networks.FaceDiscriminator)
    registry.distance("attributes", distances.attributes)
    registry.distance("perceptual", distances.Perceptual)
    registry.metric("attribute-agreement", metrics.attribute_agreement)
    registry.metric("avatar-realism", metrics.avatar_realism)
    registry.metric("avatar-diversity", metrics.avatar_diversity)
    registry.metric("f-reading", metrics_reading.f_reading)
    registry.metric("identity-retrieval", metrics_identity.identity_retrieval)
    registry.metric("photo-likeness", likeness.photo_likeness)
    registry.recipe("faces-dtn", recipes.faces_dtn)
    registry.recipe("faces-dtn-paper", recipes.faces_dtn_paper)
    registry.recipe("faces-reconstruct", recipes.faces_reconstruct)
    registry.recipe("lfw-looks-dtn", recipes.lfw_looks_dtn)
    registry.recipe("lfw-dtn", recipes.lfw_dtn)
    registry.study("faces", study.faces)
