"""Running and timing networks and exported files: PyTorch as it is, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelscale.errors import GateFailed
from modelscale.export.onnx_file import check_onnx, export_network

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from modelscale.evaluation.latency import Latency
    from modelscale.export.child import Converter

Runtime = Literal["eager", "onnxruntime"]
Answer = Callable[[Mapping[str, "NDArray[Any]"]], "NDArray[Any]"]


def runtime_latency(
    network: nn.Module,
    example_shape: tuple[int, ...],
    runtime: Runtime,
    batch_sizes: Sequence[int] = (1, 128),
    threads: int | None = None,
    seconds: float = 0.5,
    converter: Converter | None = None,
) -> tuple[Latency, ...]:
    """Return how long a network takes in a runtime on the CPU, at each batch size.

    Args:
        network: Takes one float32 tensor.
        example_shape: Of one example, without the batch.
        runtime: Where it runs.
        batch_sizes: Examples in a call.
        threads: Of one operation; None for as many as PyTorch uses.
        seconds: Measured for each batch size.
        converter: Of an enclosing block, so that many networks share one child process.

    Raises:
        GateFailed: If the network cannot be exported.
        Unavailable: If a package is missing.
    """
    call = runtime_call(network, example_shape, runtime, threads, converter)
    return call_latency(call, example_shape, batch_sizes, threads, seconds)


def runtime_call(
    network: nn.Module,
    example_shape: tuple[int, ...],
    runtime: Runtime,
    threads: int | None = None,
    converter: Converter | None = None,
) -> Callable[[Tensor], Tensor]:
    """Return a function from x (batch, *example_shape) float32 to the network's output.

    Arguments are as for `runtime_latency`. In `eager` the function is the network itself.
    """
    if runtime == "eager":
        return network
    return onnx_call(export_network(network, example_shape, converter), threads)


def onnx_call(data: bytes, threads: int | None = None) -> Callable[[Tensor], Tensor]:
    """Return a function that runs an ONNX model of one input on tensors.

    Args:
        data: The model, float or quantised.
        threads: Of one operation; None for as many as PyTorch uses.
    """
    import torch

    session = onnx_session(data, threads)
    (name,) = (port.name for port in session.get_inputs())

    def call(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    return call


def call_latency(
    call: Callable[[Tensor], Tensor],
    example_shape: tuple[int, ...],
    batch_sizes: Sequence[int] = (1, 128),
    threads: int | None = None,
    seconds: float = 0.5,
) -> tuple[Latency, ...]:
    """Return the latency of a function such as `runtime_call` returns."""
    import torch

    from modelscale.evaluation.latency import measure_latency

    cpu = torch.device("cpu")
    return measure_latency(call, example_shape, batch_sizes, cpu, threads, seconds)


def onnx_session(data: bytes, threads: int | None = None) -> Any:
    """Return an ONNX Runtime session on the CPU.

    Raises:
        GateFailed: If ONNX Runtime does not take the model.
        Unavailable: If it is not installed.
    """
    check_onnx()
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise GateFailed(f"ONNX Runtime does not take the model: {lines[0]}") from error


def onnx_answers(data: bytes, threads: int | None = None) -> Answer:
    """Return a function from an ONNX model's inputs, by name, to its output."""
    session = onnx_session(data, threads)

    def answer(values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        found: NDArray[Any] = session.run(None, dict(values))[0]
        return found

    return answer


def program_answers(data: bytes) -> Answer:
    """Return a function from the inputs of a `.pt2` archive, by name, to its output.

    Args:
        data: What `program.to_bytes` made in this process.
    """
    import torch

    from modelscale.export.program import from_bytes

    module = from_bytes(data).module()

    def answer(values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        with torch.inference_mode():
            found = module(**{name: torch.from_numpy(value) for name, value in values.items()})
        numbers: NDArray[Any] = found.numpy()
        return numbers

    return answer


def executorch_answers(data: bytes, most: int) -> Answer:
    """Return a function from the inputs of an ExecuTorch program, by name, to its output.

    Args:
        data: The program.
        most: The largest batch that it takes; more rows are answered in pieces.
    """
    import numpy as np
    import torch

    from modelscale.models.modules.exported import quietly

    with quietly():
        from executorch.runtime import Runtime as Executor

    program = Executor.get().load_program(data)
    method = program.load_method("forward")
    alive = (data, program, method)  # a method reads from the others, but keeps neither

    def answer(values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        tensors = [torch.from_numpy(value) for value in values.values()]
        pieces = zip(*(tensor.split(most) for tensor in tensors), strict=True)
        # The output's memory belongs to the method, which writes there again.
        return np.concatenate([alive[-1].execute(list(p))[0].numpy().copy() for p in pieces])

    return answer


def answers_latency(
    answer: Answer,
    values: Mapping[str, NDArray[Any]],
    batch_sizes: Sequence[int],
    threads: int | None = None,
    seconds: float = 0.5,
) -> tuple[Latency, ...]:
    """Return how long answering takes, from the user's values to the answers.

    Args:
        answer: The function that is timed.
        values: Its inputs; their first rows make a batch, again from the front if need be.
        batch_sizes: Examples in a call.
        threads: PyTorch's during the measurement.
        seconds: Measured for each batch size.
    """
    import numpy as np
    import torch

    rows = len(next(iter(values.values())))
    batches = {
        size: {name: value[np.arange(size) % rows] for name, value in values.items()}
        for size in batch_sizes
    }
    done = torch.empty(0)

    def call(x_B: Tensor) -> Tensor:
        answer(batches[len(x_B)])
        return done

    return call_latency(call, (0,), batch_sizes, threads, seconds)
