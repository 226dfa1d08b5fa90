"""ONNX graphs: made by torch, converted to float16 and int8 by onnxruntime's tools, and run by onnxruntime or OpenVINO."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError, reason_of
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


def contiguous_copy(network: nn.Module) -> Any:
    """A copy of a network on the CPU for tracing. A graph has plain contiguous weights; a run computes in channels_last."""
    return copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


def traced(what: str, make: Callable[[], Any]) -> Any:
    """The result of ``make``, with every error of the libraries as one DomtransError about the graph ``what``."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are for the developers of the libraries
            return make()
    except DomtransError:
        raise
    except Exception as error:
        reason = reason_of(error.__cause__ or error, 300)
        raise DomtransError(
            f"f and g cannot be traced into {what}: {type(error).__name__}: {reason} (see docs/export.md)"
        ) from error


def onnxruntime_runner(graph: bytes, *, spin: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """A graph as a function of batches, run by onnxruntime on the CPU with torch's number of threads.

    Args:
        graph: The content of an ONNX file.
        spin: Whether its threads wait for work in a loop, which is faster unless other threads need the cores.
    """
    runtime = require_extra("onnxruntime", "export", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT_NAME: images})[0]


def openvino_runner(graph: bytes, precision: str, cache: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A graph as a function of batches, run by OpenVINO on the CPU with torch's number of threads.

    Args:
        graph: The content of an ONNX file.
        precision: "f32" or "bf16", in which it computes.
        cache: Folder for what OpenVINO compiles.
    """
    openvino = require_extra("openvino", "openvino", "OpenVINO")
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "CACHE_DIR": str(cache),
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    return lambda images: np.array(compiled([images])[0])


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
