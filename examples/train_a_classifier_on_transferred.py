"""Unsupervised domain adaptation: a classifier of target images, trained without target labels.

It is trained on transferred source images with the source's labels and tested on real target images (section 5.1 of the
paper).

python examples/train_a_classifier_on_transferred.py RUN_FOLDER NEW_FOLDER [STEPS]
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import domtrans

BATCH_SIZE = 64


def classifier(channels: int, classes: int) -> nn.Module:
    """A small convolutional network: images [B, channels, S, S] to class logits [B, classes]."""
    layers: list[nn.Module] = []
    for before, after in ((channels, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * 128, classes))


def main(run_folder: str, new_folder: str, steps: str = "600") -> None:
    """Generate the labelled set, train on it, and test on the target's test images."""
    torch.manual_seed(0)
    run = domtrans.load(run_folder)
    generated = domtrans.generate(run, new_folder)  # the source's train split; no image or label of the target
    print(f"{generated.count:,} transferred images in {generated.folder}")

    target = domtrans.load_domain(run.registry, run.recipe.target, "test", run.recipe.image_size)
    view = v2.Compose(
        [
            v2.Grayscale() if target.channels == 1 else v2.Identity(),
            v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * target.channels, [0.5] * target.channels),  # to [-1, 1], the range in domtrans
        ]
    )
    images = ImageFolder(new_folder, view)
    class_index = torch.tensor([target.classes.index(name) for name in images.classes])  # ImageFolder has its own order
    sampler = RandomSampler(images, num_samples=int(steps) * BATCH_SIZE, replacement=True)
    network = classifier(target.channels, len(target.classes))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(steps))
    for x, label in DataLoader(images, BATCH_SIZE, sampler=sampler):
        optimizer.zero_grad()
        F.cross_entropy(network(x), class_index[label], label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()

    with torch.no_grad():
        network.eval()
        predicted = torch.cat([network(domtrans.to_float(block)).argmax(1) for block in target.blocks()])
    assert target.labels is not None
    accuracy = torch.eq(predicted, target.labels).double().mean().item()
    print(f"accuracy on {len(target):,} real target test images: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except domtrans.DomtransError as error:
        sys.exit(f"error: {error}")
