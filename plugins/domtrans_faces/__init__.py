"""Faces: drawn avatars and portraits with attributes, photographs of people, networks, metrics and recipes."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the domains, the networks, the metrics, the recipes and the study."""
    from domtrans_faces import detection, distances, recipes
    from domtrans_faces.domains import avatars, celeba, people, portraits
    from domtrans_faces.metrics import avatars as avatar_metrics
    from domtrans_faces.metrics import encoder_reading, identity, lightness, verification
    from domtrans_faces.networks import attribute_encoder, attribute_probe, colour_grid, dtn
    from domtrans_faces.study import study

    registry.domain("avatars", avatars.avatars)
    registry.domain("portraits", portraits.portraits)
    registry.domain("lfw", people.lfw)
    registry.domain("celeba", celeba.celeba)
    registry.domain("ms-celeb", people.ms_celeb)
    registry.encoder("attributes", attribute_encoder.AttributeEncoder)
    registry.encoder("attribute-probe", attribute_probe.AttributeProbe)
    registry.encoder("colour-grid", colour_grid.ColourGrid)
    registry.generator("face-generator", dtn.FaceGenerator)
    registry.discriminator("face-discriminator", dtn.FaceDiscriminator)
    registry.distance("attributes", distances.attributes)
    registry.distance("perceptual", distances.Perceptual)
    registry.metric("attribute-agreement", avatar_metrics.attribute_agreement, values=avatar_metrics.VALUES)
    registry.metric("avatar-realism", avatar_metrics.avatar_realism)
    registry.metric("matched-realism", avatar_metrics.matched_realism)
    registry.metric("avatar-diversity", avatar_metrics.avatar_diversity)
    registry.metric("f-reading", encoder_reading.f_reading, values=encoder_reading.VALUES)
    registry.metric("identity-retrieval", identity.identity_retrieval, values=identity.VALUES)
    registry.metric("face-verification", verification.face_verification)
    registry.metric("photo-likeness", lightness.photo_likeness)
    registry.detector("faces", detection.FaceDetector)
    registry.recipe("faces-dtn", recipes.faces_dtn)
    registry.recipe("avatars-dtn", recipes.avatars_dtn)
    registry.recipe("faces-dtn-paper", recipes.faces_dtn_paper)
    registry.recipe("faces-reconstruct", recipes.faces_reconstruct)
    registry.recipe("lfw-looks-dtn", recipes.lfw_looks_dtn)
    registry.recipe("photo-avatars-dtn", recipes.photo_avatars_dtn)
    registry.recipe("lfw-dtn", recipes.lfw_dtn)
    registry.study("faces", study.faces)
