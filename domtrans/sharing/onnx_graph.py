"""An ONNX graph of a network: made by torch, made smaller by onnxruntime's own tools, and run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError
from domtrans.optional import require_extra

INPUT, OUTPUT = "images", "transferred"
"""Names of what goes into the graph and what comes out of it."""

TO_INT8 = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Relu"]
"""Where weights and time are. Relu is among them so that no level is spent on what it cuts off."""

BATCH = 64
"""Images that are calibrated on at once."""

LARGEST = 2**31 - 1
"""Bytes of a protobuf file."""


def make_graph(network: nn.Module, example: Tensor) -> Any:
    """A network that takes one batch, of any number of images, as an ``onnx.ModelProto`` in torch's default opset."""
    for needed in ("onnx", "onnxscript"):
        require_extra(needed, "export", "an ONNX file")
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        input_names=[INPUT],
        output_names=[OUTPUT],
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def to_float16(graph: Any) -> Any:
    """The graph with weights and arithmetic in float16."""
    tool = require_extra("onnxruntime.transformers.float16", "export", "fp16")
    return tool.convert_float_to_float16(graph, keep_io_types=True)


def to_int8(graph: Any, images: np.ndarray) -> Any:
    """The graph with int8 weights, by channel, and activations whose ranges are those over ``images``.

    ``images``: uint8 [N, H, W, 3], as the graph takes them.
    """
    onnx = require_extra("onnx", "export", "int8")
    tools = require_extra("onnxruntime.quantization", "export", "int8")
    with TemporaryDirectory() as folder:
        whole, ready, small = (str(Path(folder, name)) for name in ("whole.onnx", "ready.onnx", "small.onnx"))
        onnx.save(graph, whole)
        tools.quant_pre_process(whole, ready, skip_symbolic_shape=True)  # it gives up where ONNX's own inference does not
        tools.quantize_static(ready, small, Calibration(images), op_types_to_quantize=TO_INT8, per_channel=True)
        return onnx.load(small)


class Calibration:
    """Images as onnxruntime asks for them (its ``CalibrationDataReader``)."""

    def __init__(self, images: np.ndarray) -> None:
        self.blocks = iter(np.array_split(images, -(-len(images) // BATCH)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        block = next(self.blocks, None)
        return None if block is None else {INPUT: block}


def runner(graph: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The graph as a function of uint8 [N, H, W, 3], run by onnxruntime on the CPU."""
    runtime = require_extra("onnxruntime", "export", "an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(serialized(graph), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})[0]


def opset(graph: Any) -> int:
    """The version of ONNX's own operators that the graph is written in."""
    return max(one.version for one in graph.opset_import if one.domain in ("", "ai.onnx"))


def to_bytes(graph: Any, says: Mapping[str, str]) -> bytes:
    """The file, checked, with what it says of itself."""
    onnx = require_extra("onnx", "export", "an ONNX file")
    onnx.helper.set_model_props(graph, dict(says))
    onnx.checker.check_model(graph)
    return serialized(graph)


def serialized(graph: Any) -> bytes:
    """The graph as bytes; raises DomtransError beyond what one file may hold."""
    if graph.ByteSize() > LARGEST:
        raise DomtransError(f"an ONNX file holds 2 GB at most, and this one would have {graph.ByteSize():,} bytes; use .pt2")
    return bytes(graph.SerializeToString())
