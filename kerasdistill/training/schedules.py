"""Learning-rate schedules."""

from dataclasses import dataclass, replace

PATIENCE = 10  # epochs without a new minimum before the rate is halved
REST = 8  # epochs after a halving in which there is no other
STOP_PATIENCE = 30
MAX_HALVINGS = 11  # 2^11 = 2048: the first cut "by a factor above 2000"


@dataclass(frozen=True)
class PaperSchedule:
    """Urban's schedule, as a value that moves from epoch to epoch.

    "Drop" is a new strict minimum of the 0/1 validation error. Epochs are counted
    from 1 and since the last minimum; a halving does not reset that count. On a
    curve that never improves after epoch 1 the rate is halved after epochs 11, 20
    and 29 and training stops after 31.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_error: float = float("inf")
    last_halving: int | None = None
    halvings: int = 0
    stop: bool = False

    def after(self, error: float) -> "PaperSchedule":
        """The schedule after one more epoch that ended with validation `error`."""
        epoch = self.epoch + 1
        if error < self.best_error:
            return replace(self, epoch=epoch, best_epoch=epoch, best_error=error)
        waited = epoch - self.best_epoch
        rested = self.last_halving is None or epoch - self.last_halving > REST
        halve = PATIENCE <= waited < STOP_PATIENCE and rested
        halvings = self.halvings + halve
        stop = waited >= STOP_PATIENCE or halvings >= MAX_HALVINGS
        last = {"last_halving": epoch} if halve else {}
        return replace(self, epoch=epoch, halvings=halvings, stop=stop, **last)

    @property
    def factor(self) -> float:
        """What the initial learning rate is multiplied by."""
        return 0.5**self.halvings


@dataclass(frozen=True)
class PerplexitySchedule:
    """The language models' schedule, as a value like `PaperSchedule`.

    The rate is multiplied by `decay` after an epoch whose validation perplexity is no
    new best, or one by less than `least_gain`; it never ends a training.
    """

    decay: float
    least_gain: float
    epoch: int = 0
    best_epoch: int = 0
    best_error: float = float("inf")
    decays: int = 0
    stop: bool = False

    def after(self, error: float) -> "PerplexitySchedule":
        """The schedule after one more epoch that ended with perplexity `error`."""
        epoch, gain = self.epoch + 1, self.best_error - error
        best = {"best_epoch": epoch, "best_error": error} if gain > 0 else {}
        decays = self.decays + (not best or gain < self.least_gain)
        return replace(self, epoch=epoch, decays=decays, **best)

    @property
    def factor(self) -> float:
        """What the initial learning rate is multiplied by."""
        return self.decay**self.decays
