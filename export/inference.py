"""`inference.onnx` for any stock ONNX Runtime: the plain graph with dense weights, in one file that explains itself.

Dense, because stock runtimes have no sparse convolution, and a weight scattered from constants would be folded back
into a dense one when the session loads. One file, because apps load bytes and many converters read one file alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from edge.data.preprocess import ARRAY
from export.graph import forget_origin, stamp
from export.passes.gathered_channels import fill_gathered_channels
from export.source import Source
from mest.errors import InputError

MODEL, WEIGHTS = "inference.onnx", "inference.bin"
MOST_BYTES = 2**31 - 2**24  # what protobuf can hold, less room for the graph
OWN_FILE_BYTES = 3 * 2**29  # from here on tools that copy a model once or twice in memory begin to fail
LAYOUTS = {1: "NC", 2: "NCL", 3: "NCHW"}  # by the dimensions of one input
SMALL_BYTES = 4096  # shapes and scalars, which shape inference wants to see, stay in the graph


def write_inference(model: onnx.ModelProto, source: Source, folder: Path, external_data: bool = False) -> None:
    """Write inference.onnx into `folder`: `input` (batch, c, h, w), (batch, c, l) or (batch, f) to `logits`.

    With `external_data`, or for a model near protobuf's 2 GB, the weights lie beside it in inference.bin.
    """
    copy = forget_origin(onnx.ModelProto.FromString(model.SerializeToString()))
    fill_gathered_channels(copy)
    del copy.graph.value_info[:]
    stamp(copy).ir_version = onnx.helper.find_min_ir_version_for(copy.opset_import)
    describe(copy, source)
    onnx.checker.check_model(copy, full_check=True)
    if not external_data and weight_bytes(copy) < OWN_FILE_BYTES:
        onnx.save(copy, folder / MODEL)
        return
    onnx.save(
        copy,
        folder / MODEL,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=SMALL_BYTES,
    )
    if (folder / WEIGHTS).is_file():  # a network of small tensors alone has none
        (folder / WEIGHTS).chmod(0o644)  # onnx makes it readable by its owner alone


def weight_bytes(model: onnx.ModelProto) -> int:
    """What the stored tensors take."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def refuse_too_large(source: Source) -> None:
    """Raise InputError for a model that no ONNX file holds."""
    nbytes = sum(value.numel() * value.element_size() for value in source.model.state_dict().values())
    if nbytes > MOST_BYTES:
        raise InputError(
            f"the model holds {nbytes / 2**30:.1f} GiB of weights; a graph holds less than 2 GiB: export a smaller one"
        )


def describe(model: onnx.ModelProto, source: Source) -> None:
    """Say in the file itself how it is fed and what it answers: `metadata_props` for programs, doc_string for people.

    Texts are themselves, everything else is JSON; docs/artifact.md lists the names.
    """
    zeros = sum(int((~layer.mask).sum()) for layer in source.layers.values())
    weights = sum(layer.mask.size for layer in source.layers.values())
    facts: dict[str, Any] = {
        "input_layout": LAYOUTS[len(source.input)],
        "input_shape": list(source.input),
        "pixel_scale": 1.0 if source.preprocess.get("mode") == ARRAY else 1 / 255,
        **source.preprocess,
        "class_names": list(source.class_names),
        "sparsity": zeros / weights if weights else 0.0,
        **({} if source.task.of_classes else {"task": source.task.name}),
        "schemes": {name: layer.scheme for name, layer in source.layers.items()},
    }
    onnx.helper.set_model_props(model, {name: _text(fact) for name, fact in facts.items()})
    model.doc_string = _for_people(source.input, facts, source.preprocess, ANSWERS[source.task.name])


def _text(fact: Any) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)


# What the output `logits` is, by task; {} is the number of class names.
ANSWERS = {
    "classification": "one number for each of {} classes in the order of class_names; softmax gives probabilities",
    "multilabel": "one number for each of {} labels in the order of class_names; its sigmoid is a probability",
    "regression": "{} numbers in the order of class_names",
    "reconstruction": "the input as the network would have it, in its shape and normalised",
    "segmentation": "one number for each of {} classes at each pixel, (batch, class, height, width)",
}


def _for_people(shape: tuple[int, ...], facts: Mapping[str, Any], preprocess: Mapping[str, Any], answers: str) -> str:
    size = "x".join(map(str, shape))
    axes = {1: "feature", 2: "channel, length", 3: "channel, height, width"}[len(shape)]
    steps = _array_steps(preprocess) if preprocess.get("mode") == ARRAY else _image_steps(preprocess)
    return (
        f"input: float32 (batch, {axes}), {size} each: {', then '.join(steps)}. "
        f"logits: {answers.format(len(facts['class_names']))}. "
        f"Sparsity {facts['sparsity']:.4f} of the sparse layers; weights are stored dense."
    )


def _array_steps(preprocess: Mapping[str, Any]) -> list[str]:
    return [f"(number - {preprocess['mean']}) / {preprocess['std']} per channel"]


def _image_steps(preprocess: Mapping[str, Any]) -> list[str]:
    resize, crop = preprocess.get("resize"), preprocess.get("crop")
    steps = [f"convert the image to {preprocess.get('mode')}"]
    if resize is not None:
        how = f"its short side to {resize}" if isinstance(resize, int) else f"it to {resize[0]}x{resize[1]} (h x w)"
        steps.append(f"resize {how} ({preprocess.get('interpolation')})")
    if crop is not None:
        steps.append(f"cut out the centre {crop[0]}x{crop[1]} (h x w)")
    steps.append(f"(pixel / 255 - {preprocess.get('mean')}) / {preprocess.get('std')} per channel")
    return steps
