"""Logarithm of the expected improvement, and the points where it is large."""

import numpy as np
import scipy.optimize
import scipy.stats
from scipy.special import erfcx, log_ndtr, logsumexp, ndtr

from tuners.cube import Cube
from tuners.gaussian_process import GaussianProcess

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
FAR = -200.0  # below, cancellation in log_h is a larger error than the series' rest
GRID_BITS = 9  # 512 points of a Sobol grid
INCUMBENTS, NEAR_EACH, NEAR_DEVIATIONS = 3, 20, (0.001, 0.01, 0.1)
STARTS = 3  # from the grid, and as many from around the incumbents
ROUGH = {"maxiter": 20, "ftol": 1e-3}  # of an ascent that is only compared with others


def log_h(u: np.ndarray) -> np.ndarray:
    """log(phi(u) + u Phi(u)), elementwise, for any u (after Ament et al. 2023).

    Direct above -1. Below, phi is taken out, which leaves 1 - |u| times Mills' ratio;
    far below, that difference is 1/u^2 - 3/u^4 + 15/u^6 - ....
    """
    u = np.asarray(u, float)
    high = np.maximum(u, -1.0)
    direct = np.log(np.exp(-0.5 * high**2 - LOG_SQRT_2PI) + high * ndtr(high))
    low = np.clip(u, FAR, -1.0)
    near = np.log1p(low * np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2)))
    far = np.minimum(u, FAR)
    tail = -2 * np.log(-far) + np.log1p(-3 / far**2 + 15 / far**4)
    log_density = -0.5 * u**2 - LOG_SQRT_2PI
    return np.where(u > -1.0, direct, log_density + np.where(u > FAR, near, tail))


def log_expected_improvement(model: GaussianProcess, x: np.ndarray) -> np.ndarray:
    """log E[max(best - f(x), 0)] at x [M, d], the mean of E over the samples; [M]."""
    mean, variance = model.posterior(x)
    deviation = np.sqrt(variance)
    each = log_h((model.best[:, None] - mean) / deviation) + np.log(deviation)
    return logsumexp(each, axis=0) - np.log(len(each))


def log_expected_improvement_gradient(
    model: GaussianProcess, x: np.ndarray
) -> tuple[float, np.ndarray]:
    """The same at one point x [d], and its gradient [d].

    EI = s h(u) with u = (best - m) / s has dEI/dm = -Phi(u) and dEI/ds = phi(u).
    """
    mean, variance, mean_slope, variance_slope = model.posterior_gradients(x)
    deviation = np.sqrt(variance)
    u = (model.best - mean) / deviation
    log_ratio = log_h(u)
    each = log_ratio + np.log(deviation)
    top = each.max()
    shares = np.exp(each - top)
    total = shares.sum()
    shares /= total * deviation
    by_mean = -np.exp(log_ndtr(u) - log_ratio) * shares
    by_variance = np.exp(-0.5 * u**2 - LOG_SQRT_2PI - log_ratio) * shares
    by_variance /= 2 * deviation
    gradient = by_mean @ mean_slope + by_variance @ variance_slope
    return float(top + np.log(total / len(each))), gradient


def proposals(
    model: GaussianProcess, cube: Cube, incumbents: np.ndarray, *, seed: int
) -> np.ndarray:
    """Snapped positions [K, A], the largest expected improvement first.

    Args:
        model: of cube's columns.
        incumbents: [I, A], the best snapped positions so far.
        seed: of the grid and of what lies around the incumbents.
    """

    def scores(rows: np.ndarray) -> np.ndarray:
        return log_expected_improvement(model, cube.columns(rows))

    generator = np.random.default_rng(seed)
    grid = scipy.stats.qmc.Sobol(len(cube.axes), rng=generator).random_base2(GRID_BITS)
    near = around(incumbents, generator=generator)
    pool, starts = [], []
    for candidates in (cube.snap(grid), cube.snap(near)):
        gains = scores(candidates)
        pool.append((candidates, gains))
        starts.extend(candidates[np.argsort(-gains, kind="stable")[:STARTS]])
    ends = [ascended(model, cube, start, rough=True) for start in starts]
    others = cube.snap(np.array(ends))
    for _ in range(1 + len(cube.axes)):
        gains = scores(others)
        pool.append((others, gains))
        if len(pool) > 3 and gains.max() <= gains[0]:
            break
        # Each round but the first changes at most one value.
        top = ascended(model, cube, others[gains.argmax()])
        others = cube.neighbours(cube.snap(top[None])[0])
    rows, gains = (np.concatenate(parts) for parts in zip(*pool, strict=True))
    return rows[np.argsort(-gains, kind="stable")]


def around(incumbents: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
    """Normal points around each of incumbents [I, A], within the cube; one position in
    A is drawn anew, since small steps never change a choice."""
    rows = np.repeat(incumbents, NEAR_EACH, axis=0)
    deviations = generator.choice(NEAR_DEVIATIONS, size=(len(rows), 1))
    moved = rows + deviations * generator.normal(size=rows.shape)
    anew = generator.random(rows.shape) < 1 / rows.shape[1]
    return np.clip(np.where(anew, generator.random(rows.shape), moved), 0, 1)


def ascended(
    model: GaussianProcess, cube: Cube, start: np.ndarray, *, rough: bool = False
) -> np.ndarray:
    """Positions [A] up the gradient from a snapped start [A], for the axes that move;
    `rough` if near the top is good enough.

    Steps are in units of the length scales, which makes all directions alike.
    """
    active = cube.active(start[None])[0]
    moving = [pair for pair in cube.moving if active[pair[0]]]
    if not moving:
        return start
    axes, columns = (np.array(numbers) for numbers in zip(*moving, strict=True))
    x, positions = cube.columns(start[None]), start[None].copy()
    units = np.minimum(model.hyperparameters.typical_length_scales[columns], 1.0)

    def loss(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        positions[0, axes] = x[0, columns] = scaled * units
        cube.refresh(x, positions)
        value, gradient = log_expected_improvement_gradient(model, x[0])
        return -value, -cube.pulled_back(gradient[None], positions)[0, axes] * units

    best = scipy.optimize.minimize(
        loss,
        start[axes] / units,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0 / unit) for unit in units],
        options={"maxiter": 50, **(ROUGH if rough else {})},
    )
    end = start.copy()
    end[axes] = np.clip(best.x * units, 0.0, 1.0)
    return end
