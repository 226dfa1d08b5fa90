"""One of several processes that train together; test_distributed.py starts it with torchrun's environment variables."""

import copy
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn

import domtrans
from domtrans import Stopped
from domtrans.compute.distributed import Group
from domtrans.compute.gradient_buckets import GradientBuckets
from domtrans.storage.tensors import write_tensors

BATCH = 6


def norms() -> list[nn.Module]:
    """Return batch norms with all kinds of options."""
    return [nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None, affine=False), nn.BatchNorm2d(3, track_running_stats=False)]


def norm_inputs() -> torch.Tensor:
    return torch.randn(BATCH, 3, 4, 4, generator=torch.Generator().manual_seed(1)) + torch.arange(BATCH)[:, None, None, None]


def through(norm: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run a batch norm twice; returns its output, the gradients of images and parameters, and its state."""
    images = images.clone().requires_grad_()
    for _ in range(2):
        made = norm(images)
    weight = torch.arange(made[0].numel()).view_as(made[0]).sin()
    (made.pow(3) * weight).sum((1, 2, 3)).mean().backward()
    kept = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    grads = {f"{name}.grad": parameter.grad for name, parameter in norm.named_parameters()}
    return {"made": made.detach(), "pull": images.grad, **kept, **grads}


def check_norms(out: Path, rank: int, size: int) -> None:
    """Write the results of every batch norm on this process's part of a batch."""
    group = Group(rank, size)
    for number, norm in enumerate(norms()):
        network = nn.Sequential(norm)
        group.sync_batch_norm(network, torch.device("cpu"))
        part = norm_inputs().chunk(size)[rank]
        write_tensors(out / f"norm-{number}-{rank}.safetensors", through(network[0], part), {})


def check_parts(out: Path, group: Group) -> None:
    """Gather three blocks, then one, so that one process has none; write the result."""
    for count in (3, 1):
        gathered = group.all_gather([torch.full((2, 1), float(k)) for k in group.my_part(range(count))])
        write_tensors(out / f"gathered-{count}-{group.rank}.safetensors", {"made": gathered}, {})


def check_flags(group: Group) -> None:
    """Vote on flags that one process sets, passed in different orders."""
    flags = {"stop": group.rank == 1, "hold_d": False, "diverged": group.rank == 0}
    votes = group.any_of(**flags) if group.is_main else group.any_of(**dict(reversed(flags.items())))[::-1]
    assert votes == (True, False, True), votes
    group.barrier()


def check_buckets(group: Group) -> None:
    """Gradients in buckets are, bit for bit, those of one message after the backward pass; the last layers are sent first."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    network.register_parameter("unused", nn.Parameter(torch.zeros(3)))
    plain = copy.deepcopy(network)
    buckets, all_reduce = GradientBuckets(list(network.parameters()), group.size, bucket_bytes=1100), dist.all_reduce
    for micro_batches in (1, 2, 1):
        batch = torch.randn(micro_batches, 6, 8, generator=torch.Generator().manual_seed(group.rank))
        sent = []

        def noted(flat: torch.Tensor, sent: list[tuple[int, int]] = sent, **options: bool) -> object:
            sent.append((len(flat), sum(parameter.grad is None for parameter in network.parameters())))
            return all_reduce(flat, **options)

        network.zero_grad()
        plain.zero_grad()
        with patch.object(dist, "all_reduce", noted):
            for number, part in enumerate(batch, 1):
                assert sent == []  # nothing is sent before the last micro-batch
                plain(part).square().mean().backward()
                with buckets.last_backward() if number == micro_batches else nullcontext():
                    network(part).square().mean().backward()
            buckets.average()
        assert [length for length, _ in sent] == [84, 272, 128], sent  # in float32, at most 1,100 bytes or one parameter
        assert micro_batches > 1 or sent[0][1] > 1, sent  # while other gradients were still missing
        wanted = group.mean([each.grad for each in plain.parameters() if each.grad is not None])
        found = [each.grad for each in network.parameters() if each.grad is not None]
        assert [torch.equal(one, other) for one, other in zip(found, wanted, strict=True)] == [True] * 6


def main(out: Path) -> None:
    from tiny import registry

    def train(name: str, folder: str, **options: object) -> None:
        recipe = domtrans.find_recipe(str(out / f"{name}.json"), registry())
        domtrans.train(recipe, out / folder, device="cpu", registry=registry(), **options)

    for name in ("exact", "parts", "augmented"):
        train(name, name)
    stop = threading.Event()
    try:
        train("augmented", "cut", stop=stop, listeners=(lambda p: stop.set() if (p.phase, p.step) == ("train", 3) else None,))
    except Stopped as stopped:
        sys.stdout.write(str(stopped))
    train("augmented", "cut", resume=True)
    check_norms(out, dist.get_rank(), dist.get_world_size())
    group = Group(dist.get_rank(), dist.get_world_size())
    check_parts(out, group)
    check_flags(group)
    check_buckets(group)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
