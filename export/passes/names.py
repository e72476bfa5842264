"""Names values after the modules that make them, so that messages and profiles speak the model's language."""

from __future__ import annotations

import onnx

from export.graph import is_leaf, module_of

KINDS = {
    "Relu": "relu",
    "Clip": "clip",
    "Add": "add",
    "MaxPool": "max_pool",
    "AveragePool": "avg_pool",
    "GlobalAveragePool": "global_avg_pool",
    "Flatten": "flatten",
}


def name_by_module(model: onnx.ModelProto) -> int:
    """Rename node outputs to "layer1.0.conv1" or "layer1.0.relu", with _2, _3 ... for repeats; return how many.

    Requires the scopes that PyTorch's exporter leaves on nodes; a node without keeps its kind as its name. Ensures
    unique names; graph inputs, graph outputs and initializers keep theirs.
    """
    graph = model.graph
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    outputs = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    for node in graph.node:
        module, kind = module_of(node), KINDS.get(node.op_type, node.op_type.lower())
        base = module if module and is_leaf(node) else f"{module}.{kind}" if module else kind
        for index, old in enumerate(node.output):
            if not old or old in outputs:
                continue
            stem = base if index == 0 else f"{base}.{index}"
            name, count = stem, 1
            while name in taken:
                count += 1
                name = f"{stem}_{count}"
            taken.add(name)
            renamed[old] = name
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        for index, name in enumerate(node.output):
            node.output[index] = renamed.get(name, name)
        node.name = node.output[0]
    del graph.value_info[:]
    return sum(old != new for old, new in renamed.items())
