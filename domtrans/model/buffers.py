"""Keep a fixed network inside another one."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def as_buffers(network: Network) -> Network:
    """Turn all parameters of a network into buffers: saved and moved with it, and not trained by any optimizer.

    Use it for a network that is part of an encoder, a generator, a discriminator or a loss and must not change. Gradients
    still reach its input.

    Args:
        network: The network, which is changed in place.

    Returns:
        The same network.
    """
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return network
