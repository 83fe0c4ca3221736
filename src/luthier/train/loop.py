"""The loop: planned steps, one after another. It knows neither files nor terminals; it only tells what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch

from luthier.data.ahead import Ahead
from luthier.data.batch import Batch
from luthier.data.order import Feed
from luthier.data.pack import Item, Piece
from luthier.data.store import TokenStore
from luthier.data.tokens import Tokens
from luthier.errors import RunError
from luthier.evaluate.loss import means_among
from luthier.methods.method import Loss, means
from luthier.record.events import Stepped
from luthier.train.checkpoint import random_tensors, restore_random
from luthier.train.fits import divided, out_of_memory
from luthier.train.nonfinite import Finding, Seen, find, find_own, rows_told, together, watching
from luthier.train.spikes import Spikes
from luthier.train.whole_rates import put_momentum
from luthier.train.work import Progress, Ready, Work


def planned_steps(feed: Feed, start: int, total: int) -> Iterator[tuple[int, float, list[list[Item]]]]:
    """(step, epoch reached after it, its micro-batches of documents) from a step to the end of the run."""
    per_epoch = feed.steps_per_epoch()
    for epoch in range(start // per_epoch, math.ceil(total / per_epoch)):
        for inside, micros in enumerate(feed.steps(epoch)):
            step = epoch * per_epoch + inside
            if start <= step < total:
                yield step, (step + 1) / per_epoch, micros


def train(work: Work, progress: Progress, after: Callable[[Stepped], bool]) -> None:
    """Run the steps from ``progress.step`` to the end; ``after`` sees every step and returns whether to stop.

    Raises:
        RunError: ``work.most_skipped`` steps in a row, or all there are, were not finite, or memory ran out.
    """
    work.model.train()
    spikes = Spikes(progress.losses)
    steps = Ahead(_with_batches(work, progress))
    begun = time.perf_counter()
    for step, epoch, micros, batches in steps:
        early = steps.prepare if work.engine.device.type == "cuda" else None
        ready = Ready(batches, time.perf_counter() - begun, early)
        event = _fitted(work, progress, spikes, step, epoch, micros, ready)
        progress.step = step + 1
        progress.tokens += event.tokens
        progress.targets += event.targets
        if event.skipped:
            progress.skipped[event.cause] = progress.skipped.get(event.cause, 0) + 1
        if event.cause != "overflow":
            progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if event.skipped else 0
        stop = after(event)
        lost = progress.skipped_in_a_row
        if lost >= min(work.most_skipped, work.total):
            raise RunError(
                f"the loss or its gradient was not finite in {lost} steps in a row, up to step {step + 1}",
                place="the run",
                remedy="lower optimizer.lr, or look at the rows or weights that warnings name; checkpoints are whole",
            )
        if stop:
            return
        begun = time.perf_counter()


def _with_batches(work: Work, progress: Progress) -> Iterator[tuple[int, float, list[list[Item]], list[Batch]]]:
    for step, epoch, micros in planned_steps(work.feed, progress.step, work.total):
        mine = work.engine.ranks.share(divided(micros, progress.parts))
        yield step, epoch, micros, [collated(work, items) for _, items, _ in mine]


def _fitted(
    work: Work, progress: Progress, spikes: Spikes, step: int, epoch: float, micros: list[list[Item]], ready: Ready
) -> Stepped:
    """A step, with its micro-batches cut in two as often as memory asks for it, if the recipe does.

    Raises:
        RunError: memory ran out, and nothing is left to cut or may be.
    """
    first: Ready | None = ready
    while True:
        parts = divided(micros, progress.parts)
        kept = random_tensors(work.engine.device) if work.find_micro else None
        try:
            return one_step(work, step, epoch, parts, spikes, first)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            largest = max(map(len, parts))
        work.engine.forget(work.optimizer)
        if kept is None or largest == 1:
            raise RunError(
                f"memory ran out in step {step + 1}, in a micro-batch of {largest} documents",
                place="batch.micro",
                remedy="lower data.max_length or switch runtime.gradient_checkpointing on"
                if largest == 1
                else "lower it and raise batch.accumulation by as much, or set batch.find_micro: true",
            )
        restore_random(kept, work.engine.device)
        if work.engine.device.type == "cuda":
            torch.cuda.empty_cache()
        progress.parts, first = progress.parts * 2, None
        told = f"memory ran out in step {step + 1}: from here on micro-batches are cut into {progress.parts} parts"
        work.tell(step + 1, f"{told}, which are summed up to the same step", ())


def one_step(
    work: Work,
    step: int,
    epoch: float,
    micros: list[list[Item]],
    spikes: Spikes | None = None,
    ready: Ready | None = None,
) -> Stepped:
    """One optimiser step: the micro-batches' summed losses, divided once by all their trained tokens (or pairs).

    A loss or gradient that is not finite is never stepped on; the rows it came with are told, and so are those of a
    loss that stands out among ``spikes``. ``ready`` are the batches, where they are made already.
    """
    begun, ranks = time.perf_counter(), work.engine.ranks
    mine = ranks.share(micros)
    ranks.reach(f"step {step + 1}")
    if ready is None:
        made = [collated(work, items) for _, items, _ in mine]
        ready = Ready(made, time.perf_counter() - begun)
    else:
        begun -= ready.waited
    counted = [batch for batch, (_, _, counts) in zip(ready.batches, mine, strict=True) if counts]
    own = ([one.units, one.tokens, one.targets] for one in counted)
    count, tokens, targets = map(int, ranks.sums([sum(few) for few in zip((0, 0, 0), *own, strict=True)]))
    with watching(work.model) if work.debug else nullcontext(Seen()) as seen:
        losses = [
            _accumulated(work, batch, count if counts else None, (step, number), last=place == len(mine))
            for place, (batch, (number, _, counts)) in enumerate(zip(ready.batches, mine, strict=True), 1)
        ][: len(counted)]
    if ready.meanwhile is not None:
        ready.meanwhile()
    totals: list[float] = torch.stack([loss.total for loss in losses]).tolist() if losses else []
    if work.scaler is not None:
        work.scaler.unscale(work.optimizer)
    rate = work.rate(step)
    for group in work.optimizer.param_groups:
        group["lr"] = rate
    if work.momentum is not None:
        put_momentum(work.optimizer, work.momentum(step))
    norm = work.engine.clip(work.model, work.clip)
    loss = ranks.sums([sum(totals)])[0] / max(1, count)
    cause = _cause(work, loss, norm)
    if spikes is not None and not cause and spikes.is_spike(loss):
        _tell_spike(work, step, loss, micros, counted, totals)
    if not cause:
        _step(work)
    if cause or seen.name:
        work.engine.forget(work.optimizer)
        _tell_nonfinite(work, step, mine, totals, cause, seen.name)
    if work.scaler is not None:
        work.scaler.update()
    work.engine.forget(work.optimizer)
    return Stepped(
        step=step + 1,
        epoch=epoch,
        loss=loss,
        lr=rate,
        gradient_norm=norm,
        tokens=tokens,
        targets=targets,
        seconds=time.perf_counter() - begun,
        waited=ready.waited,
        memory=work.engine.memory(),
        skipped=bool(cause),
        cause=cause,
        metrics=_means(work, losses),
    )


def _step(work: Work) -> None:
    try:
        work.engine.step(work.optimizer)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise RunError(
            "memory ran out for the optimiser's state",
            place="optimizer.kind",
            remedy="use one with less state (adamw_8bit, adafactor), or adapter.kind: lora",
        ) from error


def _cause(work: Work, loss: float, norm: float) -> str:
    """What is not finite, or nothing: a gradient may overflow for its scale alone, which can fall."""
    if not math.isfinite(loss):
        return "loss"
    if math.isfinite(norm):
        return ""
    return "overflow" if work.scaler is not None and work.scaler.can_fall else "gradient"


def _tell_nonfinite(
    work: Work, step: int, mine: list[tuple[int, list[Item], bool]], totals: list[float], cause: str, seen: str
) -> None:
    """Say what was not finite, where it began (``seen``, if that is known already), and with which rows."""
    if cause == "overflow":
        work.tell(step + 1, f"step {step + 1} was skipped: gradients overflow at this loss scale, which falls", ())
        return

    engine = work.engine

    def attempt(number: int, items: list[Item]) -> tuple[torch.Tensor, tuple[str, ...]]:
        batch = collated(work, items)
        with _context(work, batch, (step, number)):
            return engine.look(work.method, work.model, batch.to(engine.device)).total, batch.origins

    finding = Finding(seen)
    devices = [engine.device] if engine.device.type == "cuda" else []
    if cause and work.alone and (cause == "loss" or not engine.shares_gradients):
        found = find(work.model, [items for _, items, _ in mine], totals, attempt, engine.backward, devices)
        finding = Finding(seen or found.where, found.rows)
    elif cause:
        gradients = engine.backward if cause == "gradient" else None
        micros = [(number, items) for number, items, _ in mine]
        own = find_own(work.model, micros, attempt, gradients, devices, shared=engine.shares_gradients)
        finding = together(engine.ranks.all((seen or own.where, own.rows)))
    what = f"step {step + 1} was skipped: its {cause} is not finite" if cause else f"step {step + 1}: not finite"
    work.tell(step + 1, f"{what}{finding}", finding.rows)


def _tell_spike(
    work: Work, step: int, loss: float, micros: list[list[Item]], counted: list[Batch], totals: list[float]
) -> None:
    """Say that a step's loss stands out, and the rows of its highest micro-batch; ``counted`` are this process's, with
    the ``totals`` of their losses."""
    heights = [total / max(1, batch.units) for total, batch in zip(totals, counted, strict=True)]
    height, worst = max(zip(heights, range(len(heights)), strict=True), default=(-math.inf, 0))
    if work.alone:
        rows = _highest_first(work, step, worst, micros[worst])
    else:
        rows = tuple(max(work.engine.ranks.all((height, counted[worst].origins if counted else ())))[1])
    work.tell(step + 1, f"the loss of step {step + 1} stands out: {loss:.4g} ({rows_told(rows)})", rows)


def _highest_first(work: Work, step: int, number: int, items: list[Item]) -> tuple[str, ...]:
    """The rows of a micro-batch, those with the highest loss by themselves first."""
    losses: list[tuple[float, tuple[str, ...]]] = []
    devices = [work.engine.device] if work.engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        for item in items:
            batch = collated(work, [item])
            losses.append((float(_loss(work, batch, (step, number)).total) / max(1, batch.units), batch.origins))
    return tuple(row for _, rows in sorted(losses, key=lambda one: -one[0]) for row in rows)


def collated(work: Work, items: Sequence[Item]) -> Batch:
    """The batch of some documents of the feed."""
    return work.method.collate([tokens_of(work.store, work.documents, item) for item in items])


def tokens_of(store: TokenStore, documents: Sequence[int], item: Item) -> Tokens:
    """The tokens of an item of a feed over ``documents``: a whole document, or a piece of one."""
    if not isinstance(item, Piece):
        return store[documents[item]]
    whole, part = store[documents[item.document]], slice(item.begin, item.end)
    return replace(whole, ids=whole.ids[part], trained=whole.trained[part])


def _means(work: Work, losses: Sequence[Loss]) -> dict[str, float]:
    """The means of an objective's metrics over the step, of all processes."""
    ranks = work.engine.ranks
    if ranks.count == 1:
        return means((one.metrics, one.count) for one in losses)
    return means_among([(one.metrics, one.count) for one in losses], ranks)


@contextmanager
def _context(work: Work, batch: Batch, place: tuple[int, int]) -> Iterator[None]:
    """What a forward pass stands in; ``place`` is the step of a micro-batch and its number therein."""
    with work.engine.autocast(), work.noise.of(batch.boundaries, *place) if work.noise else nullcontext():
        yield


def _loss(work: Work, batch: Batch, place: tuple[int, int], *, last: bool = True) -> Loss:
    """The loss of a micro-batch at a place; ``last``: it is this process's last one of the step."""
    with _context(work, batch, place):
        return work.engine.loss(work.method, work.model, batch.to(work.engine.device), last=last)


def _accumulated(work: Work, batch: Batch, count: int | None, place: tuple[int, int], *, last: bool) -> Loss:
    """The loss of a micro-batch, detached once its gradients are added; without a count it adds nothing."""
    loss = _loss(work, batch, place, last=last)
    part = loss.total * 0.0 if count is None else loss.total / max(1, count)
    work.engine.backward(part if work.scaler is None else work.scaler.scaled(part))
    return replace(loss, total=loss.total.detach())
