"""Can the attributes be read off the drawings, and do they mean the same in portraits and avatars?

python benchmarks/attributes.py [COUNT] [SIZE] [EPOCHS]

A small network learns every attribute from portraits and is asked about new portraits, and about avatars, of which it saw none.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import domtrans


def network(outputs: int, size: int) -> nn.Module:
    """Four convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for inputs, width in ((3, 24), (24, 48), (48, 96), (96, 128)):
        layers += [nn.Conv2d(inputs, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (size // 16) ** 2, outputs))


def fit(reader: nn.Module, images: Tensor, index: Tensor, widths: list[int], epochs: int) -> None:
    """Adam, its rate falling to zero; attributes that are unknown count for nothing."""
    optimizer = torch.optim.Adam(reader.parameters(), 2e-3)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - epoch / epochs)
        for batch in torch.randperm(len(images)).split(64):
            logits = reader(domtrans.to_float(images[batch])).split(widths, 1)
            losses = [F.cross_entropy(logit, index[batch, k], ignore_index=-1) for k, logit in enumerate(logits)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()


@torch.no_grad()
def shares(reader: nn.Module, images: Tensor, index: Tensor, widths: list[int]) -> list[str]:
    """For each attribute the percentage read rightly, and in brackets that of its commonest value."""
    logits = torch.cat([reader(domtrans.to_float(block)) for block in images.split(200)]).split(widths, 1)
    found = []
    for k, logit in enumerate(logits):
        known = index[:, k] >= 0
        truth = index[known, k]
        right = (logit[known].argmax(1) == truth).float().mean()
        found.append(f"{100 * right:.0f} ({100 * truth.bincount().max() / len(truth):.0f})")
    return found


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
    reader = network(sum(widths), size)
    fit(reader.train(), train.images, indices(train), widths, epochs)
    reader.eval()
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, images in sets.items():
        print(f"| {name} | " + " | ".join(shares(reader, images.images, indices(images), widths)) + " |")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]])
