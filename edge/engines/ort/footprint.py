"""What onnxruntime-training will hold for a network, by the liveness of its graph.

Its allocator is its own, so the sum of live bytes is a lower bound; `ALLOCATOR_FACTOR` and the sizes of a session
were fitted to measured peaks (tests/edge/run/test_finetune_runs.py holds plans to what is measured).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from edge.engines.ort.optimizer import Optimizer
from edge.engines.ort.spans import column_spans, in_spans
from edge.network import INPUT, Network
from edge.network.operators import Operator
from edge.plan.choices import Choices
from edge.plan.footprint import ArenaPlan, Buffer, Footprint, Item, Kind
from edge.weight.mutation import mutation_bytes
from edge.weight.parameter import Parameter
from edge.weight.units import mutation_counts, unit_weights

ALLOCATOR_FACTOR = 1.15
SESSION_BYTES = 6 << 20  # two sessions whatever the graph: allocators, thread pools, kernels' first use
EVALUATION_BYTES = 3 << 20  # the evaluation session's first run: its kernels and its own allocator
OPERATOR_BYTES = 40 << 10  # nodes, kernels and plans of both sessions, per operator of the network

Blocks = Sequence[Sequence[str]]  # the values between which a block lies that the backward pass recomputes


def estimate(
    network: Network, choices: Choices, facts: Mapping[str, Any] | None = None, blocks: Blocks = ()
) -> Footprint:
    """All memory of an ort engine above the loaded library.

    `facts` is the manifest's `ort.memory`: where it was measured at export, what the measured line
    `fixed_bytes` + batch · `bytes_per_sample` has above the sum of the parts is the allocator's and the sessions'.
    `blocks` is its `ort.blocks`.
    """
    steps = _steps(network)
    buffers = tuple(_buffers(network, choices.micro_batch, blocks))
    live = _live_bytes(buffers, len(steps))
    peak_step = max(range(len(steps)), key=live.__getitem__)
    arena = ArenaPlan(
        nbytes=int(live[peak_step] * ALLOCATOR_FACTOR),
        naive_bytes=sum(buffer.nbytes for buffer in buffers),
        peak_step=peak_step,
        offsets=(),
    )
    items = _items(network, choices)
    measured = _measured_bytes(facts, choices.micro_batch)
    found = arena.nbytes + sum(item.nbytes for item in items)
    if measured > found:
        items.append(Item("runtime", "allocator, measured at export", measured - found))
    return Footprint(tuple(items), buffers, arena, steps)


def _measured_bytes(facts: Mapping[str, Any] | None, batch: int) -> int:
    fixed, per_sample = (facts or {}).get("fixed_bytes"), (facts or {}).get("bytes_per_sample")
    return fixed + batch * per_sample if isinstance(fixed, int) and isinstance(per_sample, int) else 0


def evaluation_bytes(network: Network, choices: Choices) -> int:
    """What the evaluation session keeps beside the training session's memory."""
    shapes = network.shapes()
    sizes = [
        prod(shapes[operator.name]) + sum(prod(shapes[name]) for name in operator.inputs)
        for operator in network.operators
    ]
    largest = max(sizes, default=0) * 4 * choices.micro_batch
    return int(largest * ALLOCATOR_FACTOR) + EVALUATION_BYTES


def _items(network: Network, choices: Choices) -> list[Item]:
    trained = sum(p.values.nbytes for p in network.parameters.values() if p.trainable)
    fixed = sum(p.values.nbytes for p in network.parameters.values() if not p.trainable and "values" in p.tensors)
    # ScatterND and Gather take one int64 per value, per block or per kernel.
    indices = sum(8 * p.values.size for p in network.sparse_parameters().values() if p.format in ("csr", "pattern"))
    indices += sum(8 * p.values.shape[0] for p in network.sparse_parameters().values() if p.format == "block")
    items: list[tuple[Kind, str, int]] = [
        ("weights", "parameters", trained + fixed),
        ("indices", "indices", indices),
        ("gradients", "accumulated gradients", trained),
        ("optimizer", "optimizer state", trained * choices.optimizer.state_per_weight),
        ("workspace", "optimizer scratch", Optimizer.SCRATCH_BYTES),
        ("runtime", "sessions", SESSION_BYTES + OPERATOR_BYTES * len(network.operators)),
    ]
    mutated = {name: network.parameters[name] for name in choices.densest_sparsity}
    at_once = []
    for name, parameter in mutated.items():
        units = densest_units(parameter, choices.densest_sparsity[name])
        at_once.append(mutation_bytes(in_spans(parameter, column_spans(parameter, units)), units))
    items.append(("mutation", "largest layer", max(at_once, default=0)))
    return [Item(kind, name, nbytes) for kind, name, nbytes in items if nbytes]


def densest_units(parameter: Parameter, weight_sparsity: float) -> int:
    """Units that a sparse weight has at a sparsity, or now if those are more."""
    now = parameter.nonzeros // unit_weights(parameter)
    return max(now, mutation_counts(parameter, weight_sparsity, weight_sparsity)[1])


def _steps(network: Network) -> tuple[str, ...]:
    names = [operator.name for operator in network.operators]
    return (*names, "loss", *(f"{name} backward" for name in reversed(names)))


def _buffers(network: Network, batch: int, blocks: Blocks) -> list[Buffer]:
    """Values, gradients and workspace of a step over `batch` samples with their first and last step."""
    shapes, consumers = network.shapes(), network.consumers()
    forward = {operator.name: number for number, operator in enumerate(network.operators)}
    count = len(forward)
    backward = {name: 2 * count - number for name, number in forward.items()}
    again, held = _repeated(forward, backward, blocks)
    buffers: list[Buffer] = []
    for name, shape in shapes.items():
        readers = consumers[name]
        nbytes = 4 * batch * prod(shape)
        producer = next((operator for operator in network.operators if operator.name == name), None)
        if producer is not None and producer.is_view:
            continue
        first = forward.get(name, 0)
        read = last = max([forward[reader.name] for reader in readers], default=count)
        kind: Kind = "workspace"
        needed = [backward[reader.name] for reader in readers if reader.gradient_reads == "input"]
        if producer is not None and producer.gradient_reads == "output":
            needed.append(backward[name])
        if needed and name in again:
            buffers.append(Buffer(f"{name} again", "saved activations", nbytes, again[name], max(needed)))
        elif needed or name in held:
            last, kind = max([*needed, held.get(name, read)]), "saved activations"
        if name != INPUT:
            buffers.append(Buffer(name, kind, nbytes, first, last))
            parts = [backward[reader.name] for reader in readers]
            buffers += _gradient(name, nbytes, parts or [count], backward[name])
        if producer is not None and producer.gradient_keeps_places:
            buffers.append(Buffer(f"{name} indices", "saved activations", 2 * nbytes, first, backward[name]))
    for operator in network.layers():
        buffers += _weight_buffers(network, operator, forward[operator.name], backward[operator.name])
    return buffers


def _gradient(name: str, nbytes: int, parts: Sequence[int], read: int) -> list[Buffer]:
    """The gradient of a value until the step `read`: each reader makes a part of it in its own step of `parts`.

    The parts of several readers are all held until the last one is there, and summed then; one alone is the gradient.
    """
    last = max(parts)
    if len(parts) == 1:
        return [Buffer(f"{name} gradient", "gradients", nbytes, last, read)]
    held = [Buffer(f"{name} gradient part", "gradients", nbytes, part, last) for part in parts]
    return [*held, Buffer(f"{name} gradient", "gradients", nbytes, last, read)]


def _repeated(
    forward: Mapping[str, int], backward: Mapping[str, int], blocks: Blocks
) -> tuple[dict[str, int], dict[str, int]]:
    """The step in which each value inside a block is made again, and the step until which a block's input is held."""
    again: dict[str, int] = {}
    held: dict[str, int] = {}
    for start, end in blocks:
        if end in forward and (start in forward or start == INPUT):
            held[start] = backward[end]
            between = range(forward.get(start, -1) + 1, forward[end])
            again.update({name: backward[end] for name, place in forward.items() if place in between})
    return again, held


def _weight_buffers(network: Network, operator: Operator, forward: int, backward: int) -> list[Buffer]:
    weight = network.parameters[str(operator.layer_weight)]
    buffers = [Buffer(f"{operator.name} weight gradient", "gradients", 4 * weight.size, backward, backward)]
    if weight.format in ("csr", "block", "pattern"):
        buffers.append(Buffer(f"{operator.name} dense weight", "workspace", 4 * weight.size, forward, backward))
    columns = 4 * operator.unfolded(weight.shape)
    if columns:
        buffers.append(Buffer(f"{operator.name} columns", "workspace", columns, forward, forward))
        buffers.append(Buffer(f"{operator.name} columns backward", "workspace", columns, backward, backward))
    return buffers


def _live_bytes(buffers: tuple[Buffer, ...], steps: int) -> list[int]:
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.first] += buffer.nbytes
        change[buffer.last + 1] -= buffer.nbytes
    live, total = [], 0
    for delta in change[:steps]:
        total += delta
        live.append(total)
    return live
