"""A training step by the engine against a plain loop of the same networks, on one core.

python benchmarks/step.py [--steps 12] [--batch 128]

The plain loop is what one writes down from the paper: eager float32, a pass for every batch, f run on every image, torch's
Adam. The engine runs as the recipe says in the precision that it chooses here, and in float32; without views, which the
plain loop has not. They take turns, and processor time is counted, for other work on the machine comes and goes.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from domtrans import Discriminator, Registry, Session, find_recipe, load_plugins, override, to_float
from domtrans.experiment import prepare
from domtrans.trainer import Trainer

WARM_UP = 3


def engine(name: str, batch: int, precision: str, registry: Registry) -> Trainer:
    """A trainer of a recipe's networks at that batch, every term from the first step on. f need not have learnt anything."""
    changes = {
        "train.batch_size": batch,
        "train.precision": precision,
        "train.steps": 1_000_000,
        "fit.steps": 1,
        "view": None,
        "generator_losses.gan.start": 0.0,
        "discriminator_losses.gan.start": 0.0,
    }
    recipe = override(find_recipe(name, registry), changes, registry)
    session = Session.start("cpu", precision=recipe.train.precision)
    return Trainer(prepare(recipe, registry, session), session.during("train"))


def plain(trainer: Trainer, batch: int) -> Callable[[], None]:
    """A step of the plain loop, on copies of a trainer's networks and on its images."""
    f, g, D = (  # noqa: N806
        copy.deepcopy(network).to(memory_format=torch.contiguous_format)
        for network in (trainer.f.encoder, trainer.g, trainer.D)
    )
    D.requires_grad_(True)
    g_steps = torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))
    D_steps = torch.optim.Adam(D.parameters(), 2e-4, (0.5, 0.999))  # noqa: N806
    sources, targets = trainer.source, trainer.target

    def judged(images: torch.Tensor, kind: int) -> torch.Tensor:
        return F.cross_entropy(D(images), torch.full((batch,), kind))

    def step() -> None:
        source = to_float(sources.batch(torch.randint(len(sources), (batch,)))).contiguous()
        target = to_float(targets.batch(torch.randint(len(targets), (batch,)))).contiguous()
        with torch.no_grad():
            source_features, target_features = f(source), f(target.repeat(1, 3, 1, 1))
        source_fake, target_fake = g(source_features), g(target_features)
        loss = judged(source_fake.detach(), Discriminator.FAKE_SOURCE) + judged(target, Discriminator.REAL_TARGET)
        loss = loss + judged(target_fake.detach(), Discriminator.FAKE_TARGET)
        D_steps.zero_grad()
        loss.backward()
        D_steps.step()
        loss = judged(source_fake, Discriminator.REAL_TARGET) + judged(target_fake, Discriminator.REAL_TARGET)
        loss = loss + 15 * F.mse_loss(f(source_fake.repeat(1, 3, 1, 1)), source_features)
        loss = loss + 15 * F.mse_loss(target_fake, target)
        g_steps.zero_grad()
        loss.backward()
        g_steps.step()

    return step


def medians(steps: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Milliseconds of processor time of each, median over ``count`` turns."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM_UP + count):
        for name, step in steps.items():
            began = time.process_time()
            step()
            if turn >= WARM_UP:
                taken[name].append(1000 * (time.process_time() - began))
    return {name: statistics.median(found) for name, found in taken.items()}


def main() -> None:
    """Measure both digit recipes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    registry = load_plugins().registry
    print(f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, one thread")
    print("| recipe | plain loop | engine, float32 | engine, auto | plain / auto |\n|---|---|---|---|---|")
    for name in ("digits-dtn-paper", "digits-dtn"):
        exact, auto = (engine(name, chosen.batch, precision, registry) for precision in ("float32", "auto"))
        steps = {"plain": plain(exact, chosen.batch), "float32": exact.step, "auto": auto.step}
        found = medians(steps, chosen.steps)
        cells = " | ".join(f"{found[one]:.0f} ms" for one in steps)
        print(f"| {name} | {cells} | {found['plain'] / found['auto']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
