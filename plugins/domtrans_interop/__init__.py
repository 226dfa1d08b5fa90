"""Parts of other libraries by name: metrics of torchmetrics, augmentations of kornia, and optimizers of torch."""

from domtrans import Registry, hookimpl

domtrans_interface = 1


@hookimpl
def register(registry: Registry) -> None:
    """Register the parts."""
    from domtrans_interop.kornia_augmentation import KorniaAugmentation
    from domtrans_interop.torch_optimizer import torch_optimizer
    from domtrans_interop.torchmetrics_metric import torchmetrics_metric

    registry.metric("torchmetrics", torchmetrics_metric)
    registry.augmentation("kornia", KorniaAugmentation)
    registry.optimizer("torch", torch_optimizer)
