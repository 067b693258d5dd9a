"""Whether a student's views are held in memory or come through the reader."""

from dataclasses import dataclass

from kerasdistill import machine
from kerasdistill.errors import UserError
from kerasdistill.running import timing
from kerasdistill.running.steps import size
from pipelines.distillation_set import DistillationSet
from pipelines.stored.resident import bytes_needed

MOST_OF_MEMORY = 0.5  # of what is free


@dataclass(frozen=True)
class Choice:
    """`because` is for people; `keep`: passes stay for when they come again."""

    in_memory: bool
    keep: bool
    because: str


def choose(
    stored: DistillationSet, *, resident: str, passes: int, epochs: int | None
) -> Choice:
    """How a training on the set's first passes gets its views: the faster way.

    A pass made in memory costs a little more than in the reader, which fills the gaps
    between steps; one that was kept costs nothing. So memory wins where every pass
    comes twice or more: `benchmarks/resident.py` measures all three.

    Args:
        stored: the set, of which the first `passes` are used.
        resident: "auto", "always" or "never", all of which give the same results.
        epochs: of training; None for a schedule that stops by itself.

    Raises:
        UserError: "always", but the set's store is another or memory is too small.
    """
    again = (epochs or timing.ASSUMED_EPOCHS) >= 2 * passes
    free = machine.free_bytes()
    most = MOST_OF_MEMORY * free
    every = bytes_needed(stored, kept=passes)
    keep = again and every <= most
    needed = every if keep else bytes_needed(stored, kept=0)
    room = f"{size(needed)} of memory, {size(free)} free"
    obstacle = None
    if resident == "never":
        obstacle = "`resident='never'`"
    elif not stored.manifest.needs_data:
        obstacle = f"the set's store is {stored.manifest.store}, not replay"
    elif needed > most:
        obstacle = f"a pass would take {room}"
    elif resident == "auto" and not again:
        obstacle = f"fewer epochs than twice the {passes} passes"
    elif resident == "auto" and not keep:
        obstacle = f"{passes} passes would take {size(every)} of memory"
    if resident == "always" and obstacle:
        raise UserError(f"`resident='always'`: {obstacle}; leave it out")
    if obstacle:
        return Choice(False, False, f"views come through the reader: {obstacle}")
    how = "made once" if keep else "made as it begins"
    return Choice(True, keep, f"each pass is held in memory, {how} ({room})")
