"""Networks for images of 32 to 256 pixels: f and g of feature maps, which keep the layout; D of patches; g and D for any f."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the networks."""
    from domtrans_images import discriminators, encoder, feature_discriminator, generators, joint_discriminator

    registry.encoder("map-encoder", encoder.MapEncoder)
    registry.generator("map-generator", generators.MapGenerator)
    registry.generator("image-generator", generators.ImageGenerator)
    registry.discriminator("patch-discriminator", discriminators.PatchDiscriminator)
    registry.discriminator("image-discriminator", discriminators.ImageDiscriminator)
    registry.discriminator("feature-discriminator", feature_discriminator.FeatureDiscriminator)
    registry.discriminator("joint-discriminator", joint_discriminator.JointDiscriminator)
