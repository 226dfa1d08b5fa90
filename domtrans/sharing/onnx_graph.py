"""ONNX graphs: made by torch, converted to float16 and int8 by onnxruntime's tools, and run by onnxruntime."""

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

INPUT_NAME, OUTPUT_NAME = "images", "transferred"
"""Names of the graph's input and output."""

QUANTISED_OPERATORS = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Relu"]
"""Relu is included so that the int8 range does not cover negative values that it discards."""

CALIBRATION_BATCH = 64
"""Images per batch of the calibration."""

MAX_PROTOBUF_BYTES = 2**31 - 1


def make_graph(network: nn.Module, example: Tensor) -> Any:
    """Trace a network of one input, a batch of any size, to an ``onnx.ModelProto`` in torch's default opset."""
    for module in ("onnx", "onnxscript"):
        require_extra(module, "export", "an ONNX file")
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def to_float16(graph: Any) -> Any:
    """The graph with weights and arithmetic in float16; inputs and outputs keep their types."""
    tool = require_extra("onnxruntime.transformers.float16", "export", "fp16")
    return tool.convert_float_to_float16(graph, keep_io_types=True)


def to_int8(graph: Any, images: np.ndarray) -> Any:
    """The graph with int8 weights, one scale per channel, and int8 activations.

    Args:
        graph: An ``onnx.ModelProto``.
        images: uint8 [N, H, W, 3]; the ranges of the activations are those over these images.
    """
    onnx = require_extra("onnx", "export", "int8")
    tools = require_extra("onnxruntime.quantization", "export", "int8")
    with TemporaryDirectory() as folder:
        original, prepared, quantised = (str(Path(folder, f"{name}.onnx")) for name in ("original", "prepared", "quantised"))
        onnx.save(graph, original)
        tools.quant_pre_process(original, prepared, skip_symbolic_shape=True)  # it fails on some graphs that ONNX can infer
        tools.quantize_static(
            prepared, quantised, CalibrationReader(images), op_types_to_quantize=QUANTISED_OPERATORS, per_channel=True
        )
        return onnx.load(quantised)


class CalibrationReader:
    """Batches of images in the form of onnxruntime's ``CalibrationDataReader``."""

    def __init__(self, images: np.ndarray) -> None:
        self.batches = iter(np.array_split(images, -(-len(images) // CALIBRATION_BATCH)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch; None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def runner(graph: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The graph as a function of uint8 [N, H, W, 3] images, run by onnxruntime on the CPU."""
    runtime = require_extra("onnxruntime", "export", "an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(serialise(graph), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT_NAME: images})[0]


def opset(graph: Any) -> int:
    """Version of ONNX's own operator set."""
    return max(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))


def to_bytes(graph: Any, metadata: Mapping[str, str]) -> bytes:
    """The file of a graph with metadata, after ONNX's own check."""
    onnx = require_extra("onnx", "export", "an ONNX file")
    onnx.helper.set_model_props(graph, dict(metadata))
    onnx.checker.check_model(graph)
    return serialise(graph)


def serialise(graph: Any) -> bytes:
    """The bytes of a graph. Raises DomtransError if it is larger than a protobuf file may be."""
    if graph.ByteSize() > MAX_PROTOBUF_BYTES:
        raise DomtransError(f"an ONNX file holds at most 2 GB, but this one would have {graph.ByteSize():,} bytes; use .pt2")
    return bytes(graph.SerializeToString())


def metadata_keys(file: Path) -> set[str]:
    """Keys of the metadata of an ONNX file; empty for any other file."""
    onnx = require_extra("onnx", "export", "an ONNX file")
    try:
        return {entry.key for entry in onnx.load(str(file), load_external_data=False).metadata_props}
    except Exception:  # noqa: BLE001 - protobuf raises its own exceptions for a file of another format
        return set()
