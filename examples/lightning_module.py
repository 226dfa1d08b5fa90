"""Fine-tune a run with Lightning: a LightningModule around the losses of its recipe.

python examples/lightning_module.py models:digits-dtn 100
"""

import sys

import lightning
import torch
from own_loop import Networks
from torch import Tensor
from torch.utils.data import DataLoader

import domtrans


class DomainTransferModule(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """g and D of a run, trained in turn.

    Args:
        run: A run folder, or ``models:digits-dtn``.
        lr: The learning rate of g and D.
    """

    automatic_optimization = False

    def __init__(self, run: str, lr: float = 2e-4) -> None:
        super().__init__()
        self.networks, self.lr = Networks(run), lr

    def training_step(self, batch: dict[str, tuple[Tensor, Tensor]], _: int) -> None:
        """One update of D, then one of g."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        outputs = self.networks.generate(batch["source"][0], batch["target"][0])
        for name, optimizer, loss in (
            ("D", optimizers[1], self.networks.discriminator_loss),
            ("g", optimizers[0], self.networks.generator_loss),
        ):
            value = loss(outputs)
            optimizer.zero_grad()
            self.manual_backward(value)
            optimizer.step()
            self.log(name, value, prog_bar=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for g and for D."""
        return [torch.optim.Adam(network.parameters(), self.lr, (0.5, 0.999)) for network in (self.networks.g, self.networks.D)]


def main(run: str, steps: str = "100") -> None:
    """Fine-tune for some steps and show what g makes of a test image."""
    module = DomainTransferModule(run)
    loaders = {
        name: DataLoader(module.networks.images(name), 16, shuffle=True, drop_last=True) for name in ("source", "target")
    }
    trainer = lightning.Trainer(
        max_steps=2 * int(steps), accelerator="auto", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )  # Lightning counts the steps of both optimizers
    trainer.fit(module, loaders)
    losses = {name: round(float(value), 3) for name, value in trainer.logged_metrics.items()}
    print(f"{trainer.global_step // 2} steps; losses of the last: {losses}")
    test = module.networks.images("source", "test").some(4)
    transfer = domtrans.Transfer(module.networks.f, module.networks.g)
    print(f"transferred {tuple(transfer.apply_to(test).shape)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
