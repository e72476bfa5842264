"""The way back: what a board has trained becomes a run directory that training resumes, and an inference.onnx."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.handover.artifact import MANIFEST_FILE, Artifact, open_artifact
from edge.handover.state import State, read_state
from edge.spelling import named
from edge.weight.formats import decode, kept_mask
from edge.weight.parameter import Parameter
from export.artifact import build
from export.capture import capture
from export.directory import whole_directory
from export.inference import write_inference
from export.options import Options
from export.rebuild import from_native, from_ort
from export.source import source_of_run
from mest.durable import write_json
from mest.errors import DamagedError, InputError
from mest.train.checkpoint import load_checkpoint, save_checkpoint
from mest.train.run import CHECKPOINTS, checkpoint_path, read_run

OWN_FILES = ("metrics.jsonl", "metrics.csv")  # the run's history; its summary and pictures speak of other weights


def restore_run(state: Path, out: Path, original: Path | None = None) -> dict[str, Any]:
    """Write a run directory with a state's weights and masks, and inference.onnx beside them; return what was done.

    Everything that a board does not have (configuration, position, filters that channel export removed) comes from
    the run that was exported: `original`, or where the artifact says it was. Optimizer state starts from zero. Raises
    InputError if that run is not there or is another one, DamagedError for a damaged state, artifact or run.
    """
    artifact, saved = open_artifact(state), read_state(state)
    parameters = state_parameters(artifact, saved)
    said = _said(artifact)
    run = _original(artifact, said, original)
    with whole_directory(out) as folder:
        (folder / "checkpoints").mkdir()
        restored = 0
        present = [which for which in CHECKPOINTS if checkpoint_path(run, which).is_file()]
        for which in present:
            content = load_checkpoint(checkpoint_path(run, which))
            try:
                restored = _overwrite(content, parameters, said["kept"], layer_weights(artifact))
            except (KeyError, IndexError, TypeError, ValueError) as wrong:
                raise DamagedError(f"{artifact.path}: does not fit the run {run} ({wrong!r:.200})") from wrong
            save_checkpoint(checkpoint_path(folder, which), content)
        description = {**read_run(run), "result": None, "restored_from": _origin(saved)}
        write_json(folder / "run.json", description)
        for name in OWN_FILES:
            if (run / name).is_file():
                shutil.copy(run / name, folder / name)
        _write_inference(folder, present[0])
    return {"run": str(out), "restored": restored, "original": str(run), **_origin(saved)}


def state_parameters(artifact: Artifact, saved: State) -> dict[str, Parameter]:
    """The network's parameters as a state holds them, whichever engine wrote it."""
    engine = saved.facts.get("engine")
    if engine == "native":
        return from_native(artifact.network, saved.tensors)
    if engine == "ort":
        return from_ort(artifact.network, artifact.manifest.ort["parameters"], saved.tensors)
    raise DamagedError(f"state: was written by engine {engine!r}; known are native and ort")


def _said(artifact: Artifact) -> dict[str, Any]:
    """What the artifact says of the run that it was exported from; raises DamagedError where a part is missing."""
    said = artifact.manifest.run
    if "path" not in said:
        raise InputError(
            f"{artifact.path}: was exported from {said.get('from', 'no run')}, so there is no run to go back to; "
            "export.restore_state(state, model) puts the state into the model"
        )
    for name in ("model", "data_checksum", "kept"):
        if name not in said:
            raise DamagedError(f"{artifact.path / MANIFEST_FILE}: run: {name!r} is missing; export the artifact again")
    return said


def _original(artifact: Artifact, said: Mapping[str, Any], given: Path | None) -> Path:
    path = given or Path(str(said.get("path", "")))
    if not (path / "run.json").is_file():
        raise InputError(
            f"{path}: the run that {artifact.path} was exported from is not there; give it as {named('original')}"
        )
    content = read_run(path)
    same = content["model"] == said["model"] and content["data"]["checksum"] == said["data_checksum"]
    if not same:
        raise InputError(
            f"{path}: is not the run that {artifact.path} was exported from; give that as {named('original')}"
        )
    return path


def layer_weights(artifact: Artifact) -> set[str | None]:
    """Names of the matrices and kernels of an artifact's layers."""
    return {operator.layer_weight for operator in artifact.network.layers()}


def _overwrite(
    content: dict[str, Any], parameters: Mapping[str, Parameter], kept: Mapping[str, Any], weights: set[str | None]
) -> int:
    """Put a board's parameters into a checkpoint, in place; return how many there were."""
    model, masks, restored = content["model"], content["masks"], 0
    for name, parameter in parameters.items():
        if name not in model:
            continue  # a list of channels, or numbers in the model's code
        value, mask = whole_parameter(model[name].numpy(), parameter, kept.get(name), name in weights)
        model[name].copy_(torch.from_numpy(value))  # in place: a layer that is registered twice has two names for it
        if name in masks and mask is not None:
            masks[name] = torch.from_numpy(mask)
        restored += 1
    sparsifier = content["sparsifier"]
    if isinstance(sparsifier, dict) and "masks" in sparsifier:
        sparsifier["masks"] = {name: mask.clone() for name, mask in masks.items()}
        sparsifier["nonzeros"] = {name: int(model[name].count_nonzero()) for name in sparsifier["nonzeros"]}
        for name, gradient in sparsifier.get("gradients", {}).items():
            gradient.mul_(masks[name])
    content["optimizer"] = {**content["optimizer"], "state": {}}
    return restored


def whole_parameter(
    before: np.ndarray, parameter: Parameter, kept: Mapping[str, Any] | None, of_layer: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """A parameter in the shape that it was trained in, and its mask where the board could change it.

    `of_layer`: it is a layer's weight, whose second dimension is what the layer reads.
    """
    if kept is None:
        value = decode(parameter).astype(before.dtype).reshape(before.shape)
        return value, kept_mask(parameter).reshape(before.shape) if parameter.sparse else None
    # What was cut off of the inputs is zero in the artifact's masks, whatever the workstation has made of it since.
    whole, mask = before.copy(), None
    outputs = np.arange(before.shape[0]) if kept["outputs"] is None else np.array(kept["outputs"])
    if before.ndim == 1:
        whole[outputs] = parameter.values
        return whole, mask
    inputs = np.arange(before.shape[1]) if kept["inputs"] is None else np.array(kept["inputs"])
    if parameter.format == "channel":
        whole[np.ix_(outputs, inputs)] = 0
        inputs = np.array(kept["offered"])[parameter.tensors["channels"]]
    if kept["inputs"] is not None and of_layer:
        mask = np.zeros(before.shape, bool)
        mask[:, inputs] = True
        whole *= mask
    values = parameter.values.reshape(*parameter.values.shape[:2], *before.shape[2:])  # kernels of windows lose a row
    whole[np.ix_(outputs, inputs)] = values
    return whole, mask


def _write_inference(folder: Path, which: str) -> None:
    """Write inference.onnx for the weights that a run directory has now."""
    source = source_of_run(folder, which)
    built = build(source, capture(source.model, source.input), Options())
    write_inference(built.forward, source, folder)


def _origin(saved: State) -> dict[str, Any]:
    """Where the weights come from, as plain JSON."""
    return {"engine": str(saved.facts["engine"]), "generation": saved.generation}
