"""The training loop of every model in this package: one device or many processes, killed and resumed.

    result = train(model, train_set, val_set, TrainingSettings(epochs=10), out="runs/mine", about=about)

A model is anything with `model(batch) -> outputs`, `model.loss(outputs, batch) -> {..., "total"}`,
`model.after_step()` and `model.localise(batch, top) -> [(moments, scores), ...]`, and, where some parameters
decay, `model.parameter_groups()`; a set is a `vmrlib.data.loaders.MomentDataset`, or with subtitles a
`vmrlib.data.corpus.CorpusQueries`. A model that finds videos instead of moments has `texts`, `videos` and
`retrieve` in the place of `localise`; its set is a `vmrlib.data.text_video.TextVideoDataset`. A model that
was trained with two clips by BertAdam has the norm of the first, of all gradients, as `bert_adam_norm`.
Read `train` first. A run folder holds log.jsonl, log.png, and the checkpoints best and last.

The order of the samples and everything drawn for them depend on the seed, the epoch and the step alone, and
what cannot be computed again (weights, optimiser, random numbers, length of the log) is in the checkpoint
`last`. So a run that was killed and resumed ends with the same weights, bit for bit, as one that was not: on
the CPU; on a GPU, where many sums have no fixed order, with `deterministic` (which nobody has tried there).
Several processes (`accelerate launch`, `torchrun`) share the samples of each batch and step as one would.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from vmrlib.data.corpus import CorpusQueries
from vmrlib.data.loaders import MomentDataset, seed_of
from vmrlib.data.text_video import TextVideoDataset
from vmrlib.engine.log import TrainingLog, draw_log, read_log
from vmrlib.engine.optimiser import make_optimiser
from vmrlib.engine.predicting import predict, score, to_device
from vmrlib.engine.processes import Processes
from vmrlib.engine.retrieving import RETRIEVAL_METRICS, retrieval_metrics
from vmrlib.engine.run import Progress, Run
from vmrlib.engine.settings import PRECISIONS, TrainingError, TrainingSettings
from vmrlib.models.precision import upcast

__all__ = [
    "TrainingError",
    "TrainingResult",
    "TrainingSettings",
    "draw_log",
    "predict",
    "read_log",
    "score",
    "train",
]

TrainingSet = MomentDataset | CorpusQueries | TextVideoDataset
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.8, 20  # as MSAT's scheduler, whose sign was wrong


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training: how far it went, the best metric and its step, all metrics then, and the log.

    `already_finished` is True where nothing was left to do. The model has the best weights.
    """

    steps: int
    best: float | None
    best_step: int
    metrics: dict[str, float]
    seconds: float
    log: list[dict]
    already_finished: bool = False


def train(
    model: nn.Module,
    train_set: TrainingSet,
    val_set: TrainingSet | None,
    settings: TrainingSettings,
    out: str | os.PathLike | None = None,
    about: Mapping | None = None,
    resume: bool = False,
    verbose: bool = False,
    on_step: Callable[[dict], None] | None = None,
) -> TrainingResult:
    """What came of training a model; it is left with the weights that were best on val, in evaluation mode.

    `about` goes into the checkpoints (`checkpoints.describe`). Without `out` nothing is written. `on_step` is
    called with every line of the log: of a step (step, epoch, learning_rate, losses, gradient_norm, seconds)
    or of an evaluation (step, epoch, val: the metrics in percent).

    Raises TrainingError for a folder that holds another run, for a loss that is not finite (the ids of the
    batch are named, and the last checkpoint stays good), and for settings that do not go together.
    """
    processes = Processes(settings.device)
    if settings.precision == "fp16" and processes.device.type != "cuda":
        raise TrainingError(f"training.precision: fp16 needs a GPU, not {processes.device}; use bf16")
    if not len(train_set):
        raise TrainingError("there is nothing to train on: no query has a moment")
    if val_set is not None and not len(val_set.queries):
        raise TrainingError("there is nothing to evaluate on: the validation set has no query")
    if (settings.metric in RETRIEVAL_METRICS) != isinstance(train_set, TextVideoDataset):
        raise TrainingError(f"training.metric: {settings.metric!r} is no metric of what is trained here")
    total, samples = settings.total_steps(len(train_set)), len(train_set)
    check_parts(model, settings, processes)
    # bert_adam clips each tensor by itself; a model may want a clip of all together before it
    of_all = getattr(model, "bert_adam_norm", math.inf)
    clip_norm = of_all if settings.optimizer == "bert_adam" else settings.clip_norm
    model.to(processes.device)
    optimiser = make_optimiser(model, settings, processes.device)
    scaler = torch.amp.GradScaler(processes.device.type, enabled=settings.precision == "fp16")
    about = {"seed": settings.seed} | dict(about or {})
    run = Run(model, optimiser, scaler, processes, asdict(settings), about, train_set, out)
    progress, log = run.start(resume)
    if progress.finished or progress.step >= total:
        run.finish(log)
        return _result(progress, log, already_finished=True)

    parallel = processes.wrap(model)
    autocast = torch.autocast(
        processes.device.type, PRECISIONS[settings.precision], enabled=settings.precision != "float32"
    )
    bar = tqdm(total=total, initial=progress.step, disable=not (verbose and processes.main), unit="step")
    started = time.monotonic() - progress.seconds
    with _deterministic(settings.deterministic), bar:
        for epoch, indexes, parts in batches_from(train_set, progress.step, settings, processes):
            model.train()
            rate = settings.learning_rate_at(progress.step, total, progress.scale, epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("share", 1.0)

            losses: dict[str, Tensor] = {}
            for number, (share, batch) in enumerate(parts, start=1):
                batch = to_device(batch, processes.device)
                # gradients of the parts add up; processes exchange them after the last one
                with nullcontext() if number == len(parts) else processes.no_sync(parallel):
                    with autocast:
                        outputs = parallel(batch)
                    part_losses = model.loss(full_precision(outputs), batch)
                    scaler.scale(part_losses["total"] * share).backward()
                for name, value in part_losses.items():
                    losses[name] = losses.get(name, 0.0) + value.detach() * share

            values = processes.mean(losses)
            scaler.unscale_(optimiser)
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            # the scaler of fp16 skips a step of infinite gradients by itself, and scales less from then on
            gradients = 0.0 if scaler.is_enabled() else norm.item()
            for what, value in {"loss": values["total"], "gradients' norm": gradients}.items():
                if not math.isfinite(value):
                    ids = ", ".join(train_set.query_ids(indexes))
                    where = f"step {progress.step + 1}, epoch {epoch}: the {what} is {value}"
                    raise TrainingError(f"{where}; queries of the batch: {ids}")
            scaler.step(optimiser)
            scaler.update()
            model.after_step()
            optimiser.zero_grad(set_to_none=True)

            progress.step += 1
            progress.seconds = time.monotonic() - started
            bar.update()
            if progress.step % settings.log_steps == 0 or progress.step >= total:
                record = {"step": progress.step, "epoch": epoch, "learning_rate": rate, "losses": values}
                record |= {"gradient_norm": norm.item(), "seconds": round(progress.seconds, 3)}
                log.add(record, on_step)

            evaluated = settings.evaluates_after(progress.step, samples)
            if evaluated:
                processes.share_buffers(model)
            if evaluated and val_set is not None:
                metrics = evaluate(model, val_set, settings, processes)
                improved = _judge(progress, metrics, settings)
                progress.seconds = time.monotonic() - started
                log.add({"step": progress.step, "epoch": epoch, "val": metrics}, on_step)
                bar.set_postfix_str(f"{settings.metric} {metrics[settings.metric]:.1f}")
                if improved:
                    run.save_best(progress, epoch)
            progress.finished = progress.step >= total or (
                settings.patience is not None and progress.evaluations_since_best >= settings.patience
            )
            due = settings.save_steps and progress.step % settings.save_steps == 0
            if evaluated or due or progress.finished:
                run.save_last(progress, epoch, log)
            if progress.finished:
                break
    run.finish(log)
    return _result(progress, log)


def evaluate(
    model: nn.Module, val_set: TrainingSet, settings: TrainingSettings, processes: Processes
) -> dict[str, float]:
    """The metrics of a model on a set, in percent, `settings.metric` among them."""
    if isinstance(val_set, TextVideoDataset):
        # with noise in evaluation each process finds others, and all must stop at the same step
        return processes.of_main(retrieval_metrics(model, val_set, settings.predict_batch_size))
    predictions = predict(model, val_set, settings.predict_batch_size, processes=processes)
    return score(predictions, val_set.queries, settings.metric, settings.convention)


def batches_from(
    dataset: TrainingSet, step: int, settings: TrainingSettings, processes: Processes
) -> Iterator[tuple[int, list[int], list[tuple[float, dict]]]]:
    """Epoch, indexes of the whole batch, this process's parts of it with their shares; from a step onwards.

    For ever. Every epoch has its own order, drawn from seed and epoch.
    """
    per_epoch = settings.steps_per_epoch(len(dataset))
    while True:
        epoch, first = divmod(step, per_epoch)
        dataset.set_epoch(epoch)
        generator = torch.Generator().manual_seed(seed_of(settings.seed, "order", epoch))
        order = torch.randperm(len(dataset), generator=generator).tolist()
        size = settings.batch_size
        batches = [order[i : i + size] for i in range(first * size, len(order), size)]
        parts = [split(batch, settings.accumulation) for batch in batches]
        loader = iter(
            DataLoader(
                dataset,
                batch_sampler=[processes.share(part) for each in parts for part in each],
                num_workers=settings.workers,
                collate_fn=dataset.collate,
                generator=torch.Generator(),  # else it would take a number from the one that dropout uses
            )
        )
        for batch, each in zip(batches, parts, strict=True):
            yield epoch, batch, [(len(part) / len(batch), next(loader)) for part in each]
        step += len(batches)


def check_parts(model: nn.Module, settings: TrainingSettings, processes: Processes) -> None:
    """Raises TrainingError where a model cannot be given the parts of a batch.

    A model that compares samples has `check_part(samples)`, which raises ValueError for a wrong number.
    """
    parts = settings.accumulation * processes.count
    if hasattr(model, "check_part"):
        for size in {settings.batch_size // parts, math.ceil(settings.batch_size / parts)}:
            try:
                model.check_part(size)
            except ValueError as error:
                how = f"{settings.batch_size} in {settings.accumulation} parts on {processes.count} processes"
                raise TrainingError(f"training.batch_size: {how}: {error}") from None


def split(indexes: Sequence[int], parts: int) -> list[list[int]]:
    """The indexes in at most `parts` lists of nearly equal length, none of them empty."""
    return [list(indexes[i::parts]) for i in range(min(parts, len(indexes)))]


def _judge(progress: Progress, metrics: dict[str, float], settings: TrainingSettings) -> bool:
    """Is this the best evaluation so far? Of equal ones the first counts. Lowers the rate on a plateau."""
    value = metrics[settings.metric]
    if progress.best is None or value > progress.best:
        progress.best, progress.best_step, progress.metrics = value, progress.step, metrics
        progress.evaluations_since_best = 0
        return True
    progress.evaluations_since_best += 1
    if settings.schedule == "plateau" and progress.evaluations_since_best % (PLATEAU_PATIENCE + 1) == 0:
        progress.scale *= PLATEAU_FACTOR
    return False


def _result(progress: Progress, log: TrainingLog, already_finished: bool = False) -> TrainingResult:
    return TrainingResult(
        progress.step,
        progress.best,
        progress.best_step,
        progress.metrics,
        progress.seconds,
        log.records,
        already_finished,
    )


def full_precision(outputs: Mapping) -> dict:
    """Outputs of autocast in full precision: losses are not computed in half."""
    return {key: upcast(value) for key, value in outputs.items()}


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Only deterministic algorithms, or an error; what was before is set again afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
