"""Trackers that log a training to TensorBoard, Weights & Biases or MLflow."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the trackers. Each imports its library when it is used."""
    from domtrans_trackers import mlflow, tensorboard, wandb

    registry.tracker("mlflow", mlflow.MLflow)
    registry.tracker("tensorboard", tensorboard.TensorBoard)
    registry.tracker("wandb", wandb.WandB)
