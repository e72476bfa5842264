"""`mest export`: a run becomes an artifact, and what a board trained becomes a run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.effects import Effect, given, refuse_idle

PLAIN = {
    "model": "the model of the checkpoint, as in mest train: mine:net, torchvision:resnet18",
    "input-shape": "channels x height x width of an image: 3x32x32; for a window, channels x length; for a vector, its "
    "length",
    "class-names": "cat,dog; or a file with one name per line; or the number of classes",
    "mean": "mean that training subtracted from pixels on the scale 0 to 1, or from other numbers as they are; one "
    "number or one per channel: 0.49,0.48,0.45",
    "std": "standard deviation that training then divided by",
    "resize": "how images are resized: HEIGHTxWIDTH (default the model's own), or the short side",
    "crop": "centre crop after resizing: HEIGHTxWIDTH",
    "interpolation": "nearest, bilinear or bicubic (default bilinear)",
    "task": "the task that it was trained for, as in mest train (default classification)",
    "scheme": "irregular (default), block, pattern or channel; not needed if the file has a sparsifier's state",
}
ALWAYS = frozenset({"out", "json", "seed", "quiet", "verbose"})  # the options that every export heeds
EFFECTS = (
    Effect(
        ("recompute", "mutate"),
        lambda args: args.contents != "native",
        "applies to onnxruntime-training's files, which --for native leaves out; give one of them",
    ),
    Effect(
        ("checkpoint",),
        lambda args: not args.run.is_file(),
        "chooses among the checkpoints of a run, and one file was given; leave it out",
    ),
)


class Command(Base):
    """Turn a run into a verified artifact directory for a board.

    Captures the model as ONNX, stores every sparse layer compressed, builds the training graphs of onnxruntime-training
    and the native network, and runs one batch through PyTorch and every engine. If the engines disagree, no artifact
    is written. Given a state that mest finetune wrote, it goes the other way: it writes a run directory with an
    inference.onnx, for mest train --resume and mest eval. For a checkpoint of your own (weights only), give --model and
    a description of its data; its masks are its zeros, or those of a sparsifier's state in it. Given an artifact and
    --for, it copies the files that one engine needs.
    """

    name = "export"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "run", type=Path, help="the directory of mest train, a state, an artifact, or a checkpoint of your own"
        )
        parser.add_argument("--out", type=Path, required=True, help="the artifact (or run) directory to write")
        parser.add_argument(
            "--force", action="store_true", help="replace the artifact in --out; states that were trained from it stay "
            "readable only if the new one computes the same"
        )  # fmt: skip
        parser.add_argument(
            "--for",
            dest="contents",
            choices=("native", "ort", "all"),
            default="all",
            help="whose files to write (default all): native is what a board needs (network.json, network.bin), ort "
            "adds the files of onnxruntime-training, all adds inference.onnx",
        )
        parser.add_argument(
            "--external-data",
            action="store_true",
            help="put the weights of inference.onnx into inference.bin beside it; otherwise only near 2 GB",
        )
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
            help="room that the onnxruntime-training tensors leave for mutation (default em, but none for a scheme of "
            "your own, which boards do not know); ems needs a fifth more",
        )
        parser.add_argument(
            "--recompute",
            choices=("none", "blocks"),
            default="none",
            help="what onnxruntime-training's backward pass recomputes (default none); blocks keeps only the inputs of "
            "residual blocks or runs of layers: less memory, more time, the same result",
        )
        plain = parser.add_argument_group(
            "a checkpoint of your own", "for a file that torch.save wrote: a state_dict, or a dict that has one"
        )
        for option, text in PLAIN.items():
            plain.add_argument(f"--{option}", help=text)
        parser.add_argument("--original", type=Path, help="for a state: the run that was exported, if it has moved")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.handover.state import is_state
        from mest.errors import InputError

        texts = {option: getattr(args, option.replace("-", "_")) for option in PLAIN}
        if not args.run.is_file() and (odd := [option for option, value in texts.items() if value is not None]):
            raise InputError(f"--{odd[0]}: describes a checkpoint, and {args.run} is no file; it needs no description")
        if is_state(args.run):
            from export.restore import restore_run

            _refuse_others(args, "a state", {"original"})
            context.say("restoring the run")
            return restore_run(args.run, args.out, args.original)
        from dataclasses import asdict, replace

        from edge.handover.manifest import MANIFEST

        if (args.run / MANIFEST).is_file():
            from export.contents import cut_artifact

            _refuse_others(args, "an artifact", {"contents", "force"})
            manifest = cut_artifact(args.run, args.out, args.contents, args.force)
            return {"artifact": str(args.out), "cut_from": str(args.run), **asdict(manifest)}
        from edge.plan.choices import OptimizerChoice
        from export.artifact import export_artifact
        from export.options import Options
        from export.source import source_of_run
        from mest.cli.within_budget import taken

        _refuse_others(args, "no state", {action.dest for action in args.parser._actions} - {"original"})
        refuse_idle(args, EFFECTS)
        if args.run.is_file():
            from export.checkpoint import Described, source_of_checkpoint

            described = Described(**{option.replace("-", "_"): value for option, value in texts.items()})
            source = source_of_checkpoint(args.run, described)
        else:
            source = source_of_run(args.run, args.checkpoint)
        optimizer = source.optimizer
        if args.optimizer not in (None, optimizer.kind):
            optimizer = OptimizerChoice(kind=args.optimizer)
        constants = {"momentum": args.momentum, "weight_decay": args.weight_decay}
        constants = {name: value for name, value in constants.items() if value is not None}
        options = Options(
            format=args.format,
            trainable=args.trainable,
            optimizer=replace(optimizer, **taken(optimizer.kind, constants)),
            label_smoothing=args.label_smoothing,
            room=args.mutate,
            recompute=args.recompute,
            contents=args.contents,
            external_data=args.external_data,
        )
        manifest = export_artifact(source, args.out, options, context.say, args.force)
        return {"artifact": str(args.out), **asdict(manifest)}

    def show(self, result: dict[str, Any]) -> str:
        if "restored" in result:
            return (
                f"{result['restored']} parameters of the state (engine {result['engine']}) restored into run "
                f"{result['run']}, the rest from {result['original']}; inference.onnx beside it"
            )
        if "cut_from" in result:
            nbytes = sum(facts["bytes"] for facts in result["files"].values())
            return (
                f"{', '.join(result['files'])} of {result['cut_from']}: {nbytes:,} bytes in {result['artifact']}; "
                f"left out: {', '.join(result['left_out']) or 'nothing'}"
            )
        from export.compress.sizes import table

        lines = [table(result["layers"], result["sizes"])]
        if not result["native"]["available"]:
            lines.append(f"for onnxruntime-training alone, no native network: {result['native']['reason']}")
        if result["left_out"]:
            lines.append(f"left out: {', '.join(result['left_out'])}")
        elif not result["ort"]["available"]:
            lines.append(f"no onnxruntime-training files: {result['ort']['reason']}")
        engines = ", ".join(result["reference"]["agreement"])
        lines.append(f"checked against PyTorch: {engines}; artifact {result['artifact']}")
        return "\n".join(lines)


def _refuse_others(args: argparse.Namespace, what: str, allowed: set[str]) -> None:
    """Raise InputError for an option that was given and means nothing to what is exported."""
    idle = tuple(name for name in given(args) if name not in allowed | ALWAYS)
    refuse_idle(args, (Effect(idle, lambda args: False, f"has no meaning for {args.run}, which is {what}"),))
