"""The Domain Transfer Network of Taigman, Polyak, Wolf (ICLR 2017).

Losses, distances, optimizers, augmentations, fits of f, and a metric for images without labels.
"""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the method's parts."""
    from domtrans_dtn import (
        adaptive,
        augmentations,
        boundaries,
        content,
        diff_augment,
        distances,
        diversity,
        fits,
        losses,
        members,
        metrics,
        objectives,
        optimizers,
        probing,
        self_supervised,
        variety,
    )

    registry.loss("ternary-discriminator", losses.TernaryDiscriminator)
    registry.loss("ternary-generator", losses.TernaryGenerator)
    registry.loss("feature-consistency", losses.FeatureConsistency)
    registry.loss("target-identity", losses.TargetIdentity)
    registry.loss("total-variation", losses.TotalVariation)
    registry.loss("mode-seeking", diversity.ModeSeeking)
    registry.loss("least-squares-discriminator", objectives.LeastSquaresDiscriminator)
    registry.loss("least-squares-generator", objectives.LeastSquaresGenerator)
    registry.loss("hinge-discriminator", objectives.HingeDiscriminator)
    registry.loss("hinge-generator", objectives.HingeGenerator)
    registry.loss("relativistic-discriminator", objectives.RelativisticDiscriminator)
    registry.loss("relativistic-generator", objectives.RelativisticGenerator)
    registry.loss("gradient-penalty", objectives.GradientPenalty)
    registry.loss("lecam", adaptive.LeCam)
    registry.optimizer("adam", optimizers.adam)
    registry.optimizer("adamw", optimizers.adamw)
    registry.optimizer("sgd", optimizers.sgd)
    registry.distance("mse", distances.mse)
    registry.distance("l1", distances.l1)
    registry.distance("cosine", distances.cosine)
    registry.distance("cross-entropy", distances.cross_entropy)
    registry.distance("contrastive", distances.contrastive)
    registry.distance("weighted", distances.Weighted)
    registry.augmentation("chain", augmentations.chain)
    registry.augmentation("warp", augmentations.warp)
    registry.augmentation("flip", augmentations.flip)
    registry.augmentation("stroke", augmentations.stroke)
    registry.augmentation("paint", augmentations.paint)
    registry.augmentation("recolour", augmentations.recolour)
    registry.augmentation("blur", augmentations.blur)
    registry.augmentation("noise", augmentations.noise)
    registry.augmentation("lines", augmentations.lines)
    registry.augmentation("diff-augment", diff_augment.diff_augment)
    registry.augmentation("adaptive", adaptive.Adaptive)
    registry.metric("image-realism", metrics.image_realism)
    registry.metric("content", content.content, values=content.VALUES)
    registry.metric("variety", variety.variety, values=variety.VALUES)
    registry.fit("classifier", fits.classifier)
    registry.fit("self-training", fits.self_training)
    registry.fit("vada", boundaries.vada)
    registry.fit("dirt-t", boundaries.dirt_t)
    registry.fit("probe", probing.probe)
    registry.fit("each", members.each)
    registry.fit("self-supervised", self_supervised.self_supervised)
