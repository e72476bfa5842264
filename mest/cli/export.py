"""`mest export`: a run becomes an artifact, and what a board trained becomes a run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Turn a run into an artifact directory that a board can trust.

    Captures the model as ONNX, stores every sparse layer compressed, builds the training graphs of onnxruntime-training
    and the native network, and runs one batch through PyTorch and every engine: an artifact whose engines disagree is
    not written. Given a state that mest finetune wrote, it goes the other way: to a run directory that mest train
    --resume and mest eval take, with an inference.onnx.
    """

    name = "export"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", type=Path, help="the directory of mest train, or a state of mest finetune")
        parser.add_argument("--out", type=Path, required=True, help="the artifact (or run) directory to write")
        parser.add_argument(
            "--checkpoint", choices=("best", "last"), default="best", help="which weights of the run (default best)"
        )
        parser.add_argument(
            "--format",
            choices=("auto", "dense", "masked", "csr", "block", "pattern", "channel"),
            default="auto",
            help="how sparse layers are stored; auto (the default) takes the fewest bytes per layer",
        )
        parser.add_argument("--optimizer", choices=("sgd", "adamw"), help="default: the run's, with its constants")
        parser.add_argument("--momentum", type=float, help="of SGD; default: the run's")
        parser.add_argument("--weight-decay", type=float, help="default: the run's")
        parser.add_argument("--label-smoothing", type=float, help="default: the run's")
        parser.add_argument(
            "--trainable", default="all", help="all, last:N, bias, or a regular expression of names (default all)"
        )
        parser.add_argument(
            "--mutate",
            choices=("none", "em", "ems"),
            default="em",
            help="room that the onnxruntime-training tensors leave for mutation (default em); ems needs a fifth more",
        )
        parser.add_argument(
            "--recompute",
            choices=("none", "blocks"),
            default="none",
            help="what onnxruntime-training's backward pass recomputes (default none); blocks keeps only the inputs of "
            "residual blocks or runs of layers: less memory, more time, the same result",
        )
        parser.add_argument(
            "--original", type=Path, help="for a state: the run that was exported, if it is not where it was"
        )

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.state import is_state

        if is_state(args.run):
            from export.restore import restore_run

            context.say("restoring the run")
            return restore_run(args.run, args.out, args.original)
        from dataclasses import asdict, replace

        from edge.plan.choices import OptimizerChoice
        from export.artifact import Options, export_artifact
        from export.source import source_of_run

        source = source_of_run(args.run, args.checkpoint)
        optimizer = source.optimizer
        if args.optimizer not in (None, optimizer.kind):
            optimizer = OptimizerChoice(kind=args.optimizer)
        given = {"momentum": args.momentum, "weight_decay": args.weight_decay}
        options = Options(
            format=args.format,
            trainable=args.trainable,
            optimizer=replace(optimizer, **{name: value for name, value in given.items() if value is not None}),
            label_smoothing=args.label_smoothing,
            room=args.mutate,
            recompute=args.recompute,
        )
        return {"artifact": str(args.out), **asdict(export_artifact(source, args.out, options, context.say))}

    def show(self, result: dict[str, Any]) -> str:
        if "restored" in result:
            return (
                f"{result['restored']} parameters of the state (engine {result['engine']}) restored into run "
                f"{result['run']}, the rest from {result['original']}; inference.onnx beside it"
            )
        from export.sizes import table

        lines = [table(result["layers"], result["sizes"])]
        if not result["native"]["available"]:
            lines.append(f"for onnxruntime-training alone, no native network: {result['native']['reason']}")
        if not result["ort"]["available"]:
            lines.append(f"no onnxruntime-training files: {result['ort']['reason']}")
        engines = ", ".join(result["reference"]["agreement"])
        lines.append(f"checked against PyTorch: {engines}; artifact {result['artifact']}")
        return "\n".join(lines)
