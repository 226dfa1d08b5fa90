"""Trainings in TensorBoard, Weights & Biases and MLflow."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the trackers; each asks for its library when it is used."""
    from domtrans_trackers import mlflow, tensorboard, wandb

    registry.tracker("mlflow", mlflow.MLflow)
    registry.tracker("tensorboard", tensorboard.TensorBoard)
    registry.tracker("wandb", wandb.WandB)
