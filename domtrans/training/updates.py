"""The order of updates in a step: which network learns, and from which domains.

To change the order, change ``updates_per_step``. The trainer runs what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from domtrans.recipe.schema import TrainConfig

DOMAINS = ("source", "target")


@dataclass(frozen=True)
class Update:
    """One batch and the networks that learn from it, D before g.

    Args:
        domains: The domains that the batch is drawn from.
        turn: The number of the batch in its step. Each turn draws other images.
        discriminator: Whether D learns from the batch.
        generator: Whether g learns from the batch.
    """

    domains: tuple[str, ...]
    turn: int
    discriminator: bool
    generator: bool


def turns_per_step(config: TrainConfig) -> int:
    """Batches of each domain that a step draws."""
    return max(config.discriminator_steps, config.generator_steps)


def images_per_step(config: TrainConfig) -> int:
    """Images of both domains that a step draws, over all processes."""
    return len(DOMAINS) * turns_per_step(config) * config.batch_size


def updates_per_step(config: TrainConfig) -> tuple[Update, ...]:
    """The updates of one step, in order.

    By default there is one, from both domains. ``updates="separate"`` makes one from source images and one from target
    images. ``discriminator_steps`` and ``generator_steps`` repeat the updates with other images.
    """
    splits = (DOMAINS,) if config.updates == "joint" else tuple((domain,) for domain in DOMAINS)
    return tuple(
        Update(domains, turn, turn < config.discriminator_steps, turn < config.generator_steps)
        for turn in range(turns_per_step(config))
        for domains in splits
    )
