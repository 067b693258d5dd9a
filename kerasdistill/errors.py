"""The errors a user can act on."""


class UserError(Exception):
    """A request that cannot be met: one line saying what came, what was expected
    and what to do. The command line prints it and exits with 2."""


class StaleArtifactError(UserError):
    """An artifact on disk is unfinished, damaged or belongs to another request."""


class BusyError(UserError):
    """Another process is at work in a run's folder."""


class DivergedError(Exception):
    """Training met NaN or infinity; the message names the step and the recipe."""


class WorkersLostError(RuntimeError):
    """Those who did the work are gone; one line, what is done is kept."""
