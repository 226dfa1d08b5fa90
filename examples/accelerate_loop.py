"""Fine-tune a run with Accelerate: a plain loop around the losses of its recipe, on one device or on many.

accelerate launch examples/accelerate_loop.py models:digits-dtn 100
"""

import itertools
import sys

import torch
from accelerate import Accelerator
from own_loop import Networks
from torch.utils.data import DataLoader

import domtrans


def main(run: str, steps: str = "100") -> None:
    """Fine-tune for some steps and show what g makes of test images."""
    accelerator = Accelerator()
    networks = Networks(run).to(accelerator.device)
    loaders = [DataLoader(networks.images(name), 16, shuffle=True, drop_last=True) for name in ("source", "target")]
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (networks.g, networks.D)]
    source, target, g_optimizer, d_optimizer = accelerator.prepare(*loaders, *optimizers)
    networks.g, networks.D = accelerator.prepare(networks.g, networks.D)

    batches = zip(itertools.cycle(source), itertools.cycle(target), strict=False)
    for (x, _), (t, _) in itertools.islice(batches, int(steps)):
        outputs = networks.generate(x, t)
        d_loss = networks.discriminator_loss(outputs)
        d_optimizer.zero_grad()
        accelerator.backward(d_loss)
        d_optimizer.step()
        g_loss = networks.generator_loss(outputs)
        g_optimizer.zero_grad()
        accelerator.backward(g_loss)
        g_optimizer.step()
    accelerator.print(f"{steps} steps; losses of the last: D {d_loss.item():.3f}, g {g_loss.item():.3f}")
    if accelerator.is_main_process:
        transfer = domtrans.Transfer(networks.f, accelerator.unwrap_model(networks.g))
        print(f"transferred {tuple(transfer.apply_to(networks.images('source', 'test').some(4)).shape)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
