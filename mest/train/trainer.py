"""The training loop: epochs, checkpoints, metrics and the files that a run leaves behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mest.data import Preprocess, open_data
from mest.data.augment import Augment
from mest.data.images import Images
from mest.data.loader import Batch, Indices, Samples, Share, epoch_batches, load_batches, ordered_batches
from mest.durable import write_durably, write_json
from mest.errors import DamagedError, InputError
from mest.install import how_to_install
from mest.log import Log, LogSpec, open_log
from mest.models.sizes import usual_size
from mest.ranking.forgetting import Flags
from mest.train.checkpoint import load_checkpoint, save_checkpoint
from mest.train.config import Execution, TrainConfig
from mest.train.epoch import Score, Steps, StopRequested, evaluate, predict
from mest.train.logged import epoch_values, memory_values, result_values
from mest.train.metrics import EpochRecord, finite, write_metrics
from mest.train.observer import Observer
from mest.train.pictures import draw_pictures
from mest.train.process import Process, joined
from mest.train.rate import learning_rate
from mest.train.run import checkpoint_path, drop_inference, read_origin, read_run, refuse_occupied, write_run
from mest.train.session import Best, Session, open_session
from mest.train.start import Origin, read_start
from mest.train.summary import describe_run, save_ranking, summarise


@dataclass(frozen=True)
class Outcome:
    """What training came to. `summary` is that of summary.json, None where the run was stopped."""

    path: Path
    epochs: int
    stopped: bool
    summary: dict[str, Any] | None


def train(
    config: TrainConfig, execution: Execution, options: dict[str, str] | None = None, observer: Observer | None = None
) -> Outcome:
    """Train as `config` says, writing a run directory at `execution.out`, and return how it ended.

    `options` are the texts that the config was parsed from; checkpoints keep them, so that a run can be continued
    without repeating them. After a stop the last complete epoch's checkpoint is the one to resume from.
    Each epoch seeds torch's global generators (dropout draws from them) and leaves them changed.
    Raises InputError or DamagedError in one line; nothing is written before everything has been checked.
    """
    with joined(execution.device) as process:
        checkpoint = load_checkpoint(execution.resume) if execution.resume else None
        own = checkpoint_path(execution.out, "last").parent.resolve()
        if execution.resume is None or execution.resume.parent.resolve() != own:
            refuse_occupied(execution.out)
        process.wait()  # before anyone writes
        observer = observer or Observer()
        start = read_start(execution.start) if execution.start else None
        like = None if execution.resume is None else _prepared_as(execution.resume.parent.parent)
        if start is not None and config.data.image_size is None:
            like = start.preprocess
        data = open_data(config.data, max(1, execution.workers), usual_size(config.model), like)
        if origin := start.origin if start else Origin.from_dict((checkpoint or {}).get("origin")):
            data = origin.prepared(data)
        for note in data.notes:
            observer.say(note)
        session = open_session(config, data, process, start)
        if checkpoint is not None and execution.resume is not None:
            session.restore(checkpoint, execution.resume)
        trainer = Trainer(session, execution, process, dict(options or {}), observer)
        return trainer.run()


class Trainer:
    """One run on its way through the epochs."""

    def __init__(
        self, session: Session, execution: Execution, process: Process, options: dict[str, str], observer: Observer
    ) -> None:
        self.session, self.execution, self.process = session, execution, process
        self.options, self.observer = options, observer
        self.log: Log = open_log(LogSpec(), execution.out, options)
        self.origin = read_origin(execution.resume.parent.parent) if execution.resume is not None else {}
        self.config, self.data = session.config, session.data
        self.steps = Steps(
            self.config,
            process,
            session.model,
            self._forward(),
            session.optimizer,
            session.scaler,
            self.data.preprocess,
            session.samples,
        )

    def run(self) -> Outcome:
        """Train the epochs that are left, then measure the test set once, and return the outcome."""
        try:
            return self._run()
        finally:
            self.log.close()

    def _run(self) -> Outcome:
        session, out = self.session, self.execution.out
        if self.process.writes:
            self.log = open_log(self.execution.log, out, self.options)  # before a file of the run: it may refuse
            self._open_directory()
            for note in session.notes:
                self.observer.say(note)
        self.process.wait()
        while session.epoch < self.config.epochs:
            try:
                if self.process.any(self.observer.stop()):
                    raise StopRequested
                self._epoch(session.epoch)
            except StopRequested:
                return Outcome(out, session.epoch, True, None)
        summary = None
        try:
            summary = self._finish() if self.process.writes else None
        except StopRequested:
            return Outcome(out, session.epoch, True, None)
        finally:
            self.process.wait()
        return Outcome(out, session.epoch, False, summary)

    def _forward(self) -> nn.Module:
        """The model, or its wrapper that averages gradients over processes."""
        if self.process.world == 1:
            return self.session.model
        devices = [self.process.device] if self.process.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(self.session.model, device_ids=devices, gradient_as_bucket_view=True)

    def _open_directory(self) -> None:
        session, out, resumed = self.session, self.execution.out, self.execution.resume
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        if resumed is not None:
            self._take_over_best(resumed.parent / "best.pt")
        self._describe(None)
        if resumed is None or not checkpoint_path(out, "last").is_file():
            self._save("last")
        for path in (self.execution.log_file, self.execution.write_ranking):  # now, not after the last epoch
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    raise InputError(f"{path}: is a folder; give the name of a file in it")
        write_metrics(out, session.history, self.config.data.task, self.execution.log_file)

    def _take_over_best(self, path: Path) -> None:
        """Keep the best checkpoint beside the one that is resumed, if it is the one that it speaks of."""
        best, kept = self.session.best, checkpoint_path(self.execution.out, "best")
        if best is None:
            return
        if not path.is_file() or load_checkpoint(path)["epoch"] != best.epoch + 1:
            self.session.best = None
            self.observer.say(f"{path}: not the best checkpoint of epoch {best.epoch}; it is chosen anew from here on")
        elif path.resolve() != kept.resolve():
            _copy(path, kept)

    def _epoch(self, epoch: int) -> None:
        session, config, began = self.session, self.config, time.monotonic()
        torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, self.process.rank]).generate_state(1)[0]))
        change = session.samples.start_epoch(epoch, self._look)
        mutation = session.sparsifier.start_epoch(epoch)
        lr = learning_rate(config.optimizer, epoch, config.epochs)
        for group in session.optimizer.param_groups:
            group["lr"] = lr
        sparsity, at_target = session.sparsifier.sparsity, session.sparsifier.at_target
        layers = session.sparsifier.layers()  # as they train: at the end the last mutation changes them
        score = self.steps.train_epoch(epoch, self._training_batches(epoch), self.observer.stop)
        session.samples.end_epoch()
        if epoch == config.epochs - 1:
            session.sparsifier.finish()
            at_target = session.sparsifier.at_target
        validation = None
        if len(session.validation) and self.process.writes:  # no other process decides by it
            validation = self._evaluate(self.data.train, session.validation)
        session.epoch = epoch + 1
        record = EpochRecord(
            epoch=epoch,
            lr=lr,
            train_loss=score.loss,
            train_accuracy=score.judged,
            validation_loss=finite(validation.loss) if validation else None,
            validation_accuracy=validation.judged if validation else None,
            weight_sparsity=sparsity,
            at_target=at_target,
            pruned=sum(layer.pruned_weights for layer in mutation.layers.values()) if mutation else 0,
            grown=sum(layer.grown_weights for layer in mutation.layers.values()) if mutation else 0,
            churn=mutation.churn if mutation else 0.0,
            samples=len(session.samples.active),
            samples_removed=change.removed,
            samples_restored=change.restored,
            seconds=round(time.monotonic() - began, 3),
        )
        session.history.append(record)
        is_best = at_target and self._is_best(validation)
        if is_best:
            session.best = Best(epoch, validation.judged if validation else 0.0, validation.loss if validation else 0.0)
        if self.process.writes:
            told = epoch_values(record, self.steps.task, layers, mutation)
            self.log.scalars(epoch, {**told, **memory_values(self.process.device)})  # before what a resume goes on from
            if is_best:
                self._save("best")
            self._save("last")
            write_metrics(self.execution.out, session.history, self.steps.task, self.execution.log_file)
            self.observer.epoch_done(record)

    def _is_best(self, validation: Score | None) -> bool:
        """True for the first epoch at target and better ones; without validation images the latest is the best."""
        best = self.session.best
        if best is None or validation is None:
            return True
        return best.beaten_by(validation.judged, validation.loss, self.steps.task.metric)

    def _describe(self, result: dict[str, Any] | None) -> None:
        described = describe_run(self.session, self.execution.remark, self.options, result)
        write_run(self.execution.out, {**described, **self.origin})

    def _save(self, which: str) -> None:
        for name in drop_inference(self.execution.out):
            self.observer.say(f"{self.execution.out / name}: removed, it had the weights from before this training")
        lr = self.session.optimizer.param_groups[0]["lr"]
        save_checkpoint(checkpoint_path(self.execution.out, which), self.session.state(self.options, lr))

    def _training_batches(self, epoch: int) -> Iterator[tuple[Batch, int]]:
        config, train = self.config, self.data.train
        share = Share(self.process.rank, self.process.world)
        active = self.session.samples.active
        plan = epoch_batches(active, config.optimizer.batch_size, config.seed, epoch, share)
        samples = Samples(train, self.data.augment, self.data.augment.draws(len(train), config.seed, epoch))
        batches = self._load(samples, [part for part, _ in plan])
        return zip(self.observer.watch(batches, len(plan), f"epoch {epoch}"), [whole for _, whole in plan], strict=True)

    def _evaluate(self, images: Images, indices: Indices, heard: bool = False) -> Score:
        """The score of some images; where nothing is lost by it, a stop is `heard` at every batch."""
        batches = self._load(Samples(images, Augment()), ordered_batches(indices, self.execution.eval_batch_size))
        if heard:
            batches = self._until_stop(batches)
        device, task = self.process.device, self.steps.task
        return evaluate(self.session.model, batches, self.data.preprocess, device, self.config.amp, task)

    def _until_stop(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.observer.stop():
                raise StopRequested
            yield batch

    def _look(self, indices: Indices) -> Flags:
        """Whether each of the training samples is classified correctly now, without augmentation."""
        batches = self._load(
            Samples(self.data.train, Augment()), ordered_batches(indices, self.execution.eval_batch_size)
        )
        found = predict(self.session.model, batches, self.data.preprocess, self.process.device, self.config.amp)
        correct = torch.cat([logits.argmax(1) == labels for logits, labels in found])
        # Running statistics differ between processes, and all must bring back the same samples.
        return self.process.of_first(correct.to(torch.uint8)).cpu().numpy().astype(np.bool_)

    def _load(self, samples: Samples, batches: list[Indices]) -> Iterable[Batch]:
        return load_batches(samples, batches, self.execution.workers, pin=self.process.device.type == "cuda")

    def _finish(self) -> dict[str, Any]:
        """Measure the test set with the best and the last weights, and write what remains of the run directory."""
        session, out = self.session, self.execution.out
        test = np.arange(len(self.data.test), dtype=np.int64)
        last = self._evaluate(self.data.test, test, heard=True)
        if session.best is None:
            _copy(checkpoint_path(out, "last"), checkpoint_path(out, "best"))
        best = load_checkpoint(checkpoint_path(out, "best"))
        session.model.load_state_dict(best["model"])
        score = self._evaluate(self.data.test, test, heard=True)
        summary = summarise(session, out, score, last, int(best["epoch"]) - 1)
        write_json(out / "summary.json", summary)
        self._describe(summary)
        self.log.scalars(session.epoch, result_values(summary, self.steps.task))
        if self.execution.write_ranking is not None:
            save_ranking(self.execution.write_ranking, session, self.options)
        if session.history and not draw_pictures(out, session.history, self.steps.task.metric):
            self.observer.say(f"no pictures: matplotlib is not installed ({how_to_install('plots')})")
        return summary


def _prepared_as(run: Path) -> Preprocess | None:
    """The preprocessing of a run that is continued, None where only its checkpoint is there."""
    if not (run / "run.json").is_file():
        return None
    content = read_run(run)
    try:
        return Preprocess.from_dict(content["preprocess"]).leading_to(*content["model"]["input"][1:])
    except (KeyError, TypeError, ValueError) as wrong:
        raise DamagedError(f"{run / 'run.json'}: a part is missing or has another form ({wrong!r})") from wrong


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as file:
        write_durably(target, lambda out: shutil.copyfileobj(file, out))
