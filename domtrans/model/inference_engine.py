"""Inference engines: what computes G of a fixed network. torch itself, or a traced graph in onnxruntime or OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from domtrans.data.image_set import to_channels
from domtrans.errors import DomtransError
from domtrans.model import onnx_graph
from domtrans.model.transfer import Transfer
from domtrans.storage.cache import Cache
from domtrans.storage.tensors import fingerprint

InferenceEngine = Literal["auto", "torch", "onnxruntime", "openvino"]

Network = Callable[[Tensor], Tensor]
"""Images [B, 1 or 3, S, S] in [-1, 1] to target images, float32 [B, C, S, S] in [-1, 1]."""

TOLERANCE_LEVELS = {torch.float32: 1, torch.bfloat16: 8}
"""Levels of 255 by which the pixels of an engine may differ from torch's: the largest difference in float32, the mean of the
absolute differences in bfloat16."""
CHECKED_IMAGES = 8
GRAPH_VERSION = 1
"""Part of the key of a graph in the cache; raise it when ``make_graph`` gives another graph for the same network."""


def pick_engine(engine: InferenceEngine, transfer: Transfer, dtype: torch.dtype) -> InferenceEngine:
    """The engine itself; of "auto", onnxruntime or OpenVINO if it is installed and can compute G here, else torch.

    Raises:
        DomtransError: If the engine is unknown, or cannot compute this G, on its device or in this precision.
    """
    if engine not in get_args(InferenceEngine):
        raise DomtransError(f"the engine '{engine}' is not supported; choose {', '.join(get_args(InferenceEngine))}")
    device = transfer.encoder.mean.device
    if engine == "auto":
        if device.type == "cpu" and transfer.engine is None and all(map(find_spec, ("onnx", "onnxscript"))):
            if find_spec("onnxruntime") and dtype == torch.float32:
                return "onnxruntime"  # before OpenVINO, which is slower for small networks (docs/benchmarks.md)
            if find_spec("openvino"):
                return "openvino"
        return "torch"
    if engine != "torch" and transfer.engine is not None:
        raise DomtransError(f"this run draws by parameters, which the engine '{engine}' does not compute; use the engine torch")
    if engine != "torch" and device.type != "cpu":
        raise DomtransError(
            f"the engine '{engine}' computes on the CPU here, not on {device}; use --device cpu or --engine torch"
        )
    if engine == "onnxruntime" and dtype != torch.float32:
        raise DomtransError("the engine 'onnxruntime' computes in float32 only; use openvino or torch for bf16")
    return engine


def graph_network(
    transfer: Transfer, engine: InferenceEngine, image_size: int, dtype: torch.dtype, code: Mapping[str, Any]
) -> Network:
    """G in an engine other than torch, warmed up. Its graph is kept in the cache.

    Args:
        transfer: G, on the CPU. The engine keeps the weights that it has now.
        engine: "onnxruntime" or "openvino".
        image_size: S, the side of the images in pixels.
        dtype: float32 or bfloat16, in which the engine computes.
        code: What the networks are besides their weights, as values that JSON can hold.

    Raises:
        DomtransError: If G cannot be traced or gives other pixels than in torch, or the library of the engine is not
            installed.
    """
    cache, channels = Cache(), input_channels(transfer)
    weights = fingerprint(transfer.state_dict())
    key = {"weights": weights, "code": code, "size": image_size, "torch": torch.__version__, "graph": GRAPH_VERSION}

    def start(graph: bytes) -> Network:
        if engine == "openvino":
            precision = "bf16" if dtype == torch.bfloat16 else "f32"
            run = onnx_graph.openvino_runner(graph, precision, cache.folder / "graphs" / "openvino")
        else:
            run = onnx_graph.onnxruntime_runner(graph, spin=False)
        return lambda images: torch.from_numpy(run(to_channels(images, channels).contiguous().numpy()))

    def trace() -> dict[str, Tensor]:
        graph = onnx_graph.traced("an ONNX graph", lambda: _graph(transfer, noise(2, channels, image_size)))
        check(start(graph), transfer, noise(CHECKED_IMAGES, channels, image_size), dtype, engine)
        return {"graph": torch.frombuffer(bytearray(graph), dtype=torch.uint8)}  # the checksum of tensors finds damage

    network = start(cache.tensors("graphs", key, trace)["graph"].numpy().tobytes())
    network(noise(1, channels, image_size))  # the first images take longest
    return network


def input_channels(transfer: Transfer) -> int:
    """Channels of the images that a graph takes: grey and RGB images as RGB, others as f reads them."""
    channels = transfer.encoder.encoder.channels
    return 3 if channels in (1, 3) else channels


def check(network: Network, transfer: Transfer, images: Tensor, dtype: torch.dtype, engine: str) -> None:
    """Compare an engine with torch. Raises DomtransError if the pixels differ by more than the tolerance."""
    levels = 127.5 * (network(images) - transfer(images).float()).abs()
    found = float(levels.max() if dtype == torch.float32 else levels.mean())
    if not found <= TOLERANCE_LEVELS[dtype]:
        raise DomtransError(
            f"the engine '{engine}' gives other pixels than torch: they differ by {found:.1f} of 255 levels, and the tolerance "
            f"is {TOLERANCE_LEVELS[dtype]}; use the engine torch"
        )


def noise(count: int, channels: int, size: int) -> Tensor:
    """Images of coarse and fine noise, the same in every call: float32 [count, channels, size, size] in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 4, 4, generator=random) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    fine = torch.rand(count, channels, size, size, generator=random) * 2 - 1
    return torch.lerp(smooth, fine, torch.linspace(0, 1, count)[:, None, None, None])


def _graph(transfer: Transfer, example: Tensor) -> bytes:
    return onnx_graph.serialise(onnx_graph.make_graph(onnx_graph.contiguous_copy(transfer), example))
