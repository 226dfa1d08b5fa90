"""Measure whether the attributes can be predicted from rendered faces, and whether they look alike in portraits and avatars.

python benchmarks/attributes.py [COUNT] [SIZE] [EPOCHS]

A small network is trained on portraits. It is tested on new portraits and on avatars, which it was not trained on.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import domtrans


def build_network(outputs: int, size: int) -> nn.Module:
    """Four convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for inputs, width in ((3, 24), (24, 48), (48, 96), (96, 128)):
        layers += [nn.Conv2d(inputs, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (size // 16) ** 2, outputs))


def fit(network: nn.Module, images: Tensor, index: Tensor, widths: list[int], epochs: int) -> None:
    """Train with Adam and a linearly decaying learning rate. Unknown attributes are ignored."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - epoch / epochs)
        for batch in torch.randperm(len(images)).split(64):
            logits = network(domtrans.to_float(images[batch])).split(widths, 1)
            losses = [F.cross_entropy(logit, index[batch, k], ignore_index=-1) for k, logit in enumerate(logits)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()


@torch.no_grad()
def accuracies(network: nn.Module, images: Tensor, index: Tensor, widths: list[int]) -> list[str]:
    """The accuracy of each attribute in percent, with the share of its most frequent value in brackets."""
    logits = torch.cat([network(domtrans.to_float(block)) for block in images.split(200)]).split(widths, 1)
    cells = []
    for k, logit in enumerate(logits):
        known = index[:, k] >= 0
        truth = index[known, k]
        correct = (logit[known].argmax(1) == truth).float().mean()
        cells.append(f"{100 * correct:.0f} ({100 * truth.bincount().max() / len(truth):.0f})")
    return cells


def main(count: int = 6_000, size: int = 48, epochs: int = 8) -> None:
    """Train, and print a table in Markdown."""
    registry = domtrans.load_plugins().registry
    parts = {name: domtrans.use(name, count=count, test_count=800) for name in ("portraits", "avatars")}
    sets = {name: domtrans.load_domain(registry, part, "test", size) for name, part in parts.items()}
    train = domtrans.load_domain(registry, parts["portraits"], "train", size)
    names, widths = list(train.attributes), [len(of.values) for of in train.attributes.values()]

    def indices(images: domtrans.ImageSet) -> Tensor:
        return torch.stack([images.attributes[name].index for name in names], 1)

    torch.manual_seed(0)
    network = build_network(sum(widths), size)
    fit(network.train(), train.images, indices(train), widths, epochs)
    network.eval()
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, images in sets.items():
        print(f"| {name} | " + " | ".join(accuracies(network, images.images, indices(images), widths)) + " |")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]])
