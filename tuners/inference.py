"""What the hyperparameters of a Gaussian process may be, given values at points.

They are integrated over, as Snoek, Larochelle & Adams (2012) do it, by slice sampling;
the mean, whose prior is flat, in closed form. The sampler is elliptical (Murray, Adams
& MacKay 2010), along a normal approximation around the likeliest ones (Nishihara,
Murray & Adams 2014), which needs no burning in: so samples are a function of the data
and a seed alone, and a search that was interrupted finds them again.

theta stands for [log l of each group.., log amplitude, log noise], [G + 2].
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.optimize

from tuners.gaussian_process import (
    GaussianProcess,
    Hyperparameters,
    cholesky,
    each_scaled_distances,
    matern52,
)

LOG_LENGTH_RANGE = np.log([1e-2, 1e2])
LOG_AMPLITUDE_RANGE = np.log([1e-3, 1e3])
LOG_NOISE_RANGE = np.log([1e-6, 1e1])
# One start: over eight searches a function, two more changed no regret for sure.
FIRST_LENGTH, FIRST_AMPLITUDE, FIRST_NOISE = 0.5, 1.0, 1e-3

SAMPLES = 10  # as Spearmint has it
STEPS = 3  # of each sample's chain
FLATTEST = 0.25  # curvature that the approximation has at least: deviations up to 2
MOST_CURVED = 150  # points that the approximation is of; of more, evenly chosen ones


def log_prior(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Up to a constant, and its gradient; of [.., G + 2].

    Length scales: -0.2 cosh(2 log l), flat near 1 and steep beyond 1/4 and 4.
    Amplitude: Gamma(2, 1). Noise: Gamma(1.1, 30). (Those of Optuna's GPSampler.)
    """
    logs, log_amplitude, log_noise = theta[..., :-2], theta[..., -2], theta[..., -1]
    amplitude, noise = np.exp(log_amplitude), np.exp(log_noise)
    value = -0.2 * np.cosh(2 * logs).sum(-1)
    value += log_amplitude - amplitude + 0.1 * log_noise - 30 * noise
    slopes = np.stack([1 - amplitude, 0.1 - 30 * noise], axis=-1)
    return value, np.concatenate([-0.4 * np.sinh(2 * logs), slopes], axis=-1)


def negative_log_posterior(
    theta: np.ndarray, points: np.ndarray, values: np.ndarray, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    """Of theta, up to a constant, and its gradient; the mean is integrated out.

    Args:
        theta: [G + 2].
        points: [N, d]; values: [N].
        groups: int [d], which length scale each column has.
    """
    lengths = np.exp(theta[:-2])[groups]
    amplitude, noise = np.exp(theta[-2:])
    (distances,) = each_scaled_distances(points, points, lengths[None])
    decay = amplitude * np.exp(-distances)
    signal = decay * (1 + distances + distances**2 / 3)
    kernel = signal.copy()
    kernel[np.diag_indices_from(kernel)] += noise
    factor = cholesky(kernel)
    inverse = _inverse(factor)
    ones = inverse.sum(0)
    total = ones.sum()
    centred = values - ones @ values / total
    weights = inverse @ centred
    loss = 0.5 * centred @ weights + np.log(np.diag(factor)).sum()
    loss += 0.5 * np.log(total)
    # d loss / d kernel
    pairs = np.stack([weights, ones / np.sqrt(total)])
    outer = 0.5 * (inverse - pairs.T @ pairs)
    # d kernel / d log l_d = 5/3 amplitude (1 + s) exp(-s) (difference_d / l_d)^2
    slopes = 5 / 3 * outer * decay * (1 + distances)
    scaled = points / lengths
    columns = 2 * (slopes.sum(0) @ scaled**2 - (slopes @ scaled * scaled).sum(0))
    prior, prior_gradient = log_prior(theta)
    by_group = np.bincount(groups, columns, minlength=len(theta) - 2)
    gradient = np.concatenate(
        [by_group, [(outer * signal).sum(), noise * np.trace(outer)]]
    )
    return float(loss - prior), gradient - prior_gradient


def likeliest(points: np.ndarray, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The theta that is likeliest under the priors, roughly, since samples are taken
    around it; arguments as above."""
    return scipy.optimize.minimize(
        negative_log_posterior,
        np.log([FIRST_LENGTH] * _count(groups) + [FIRST_AMPLITUDE, FIRST_NOISE]),
        args=(points, values, groups),
        jac=True,
        method="L-BFGS-B",
        bounds=_bounds(groups),
        options={"maxiter": 100, "gtol": 1e-2, "ftol": 1e-4},
    ).x


def log_posteriors(
    theta: np.ndarray, points: np.ndarray, values: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `negative_log_posterior` has it, of many theta [S, G + 2] at once, with the
    mean of the process and its variance, given each; [S] each. And the covariances'
    Cholesky factors, [S, N, N].

    Nothing is likely beyond the ranges of the hyperparameters.
    """
    low, high = _bounds(groups).T
    given = _hyperparameters(np.clip(theta, low, high), groups)
    factors = cholesky(given.covariance(points))
    pairs = np.stack([np.ones(len(values)), values], axis=1)
    solved = np.array(
        [scipy.linalg.lapack.dtrtrs(each, pairs, lower=1)[0] for each in factors]
    )
    products = solved.transpose(0, 2, 1) @ solved  # 1'K^-1 1, 1'K^-1 y; y'K^-1 y
    total, across, squares = products[:, 0, 0], products[:, 0, 1], products[:, 1, 1]
    logs = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    density = -0.5 * (squares - across**2 / total) - logs - 0.5 * np.log(total)
    inside = ((theta >= low) & (theta <= high)).all(1)
    density = np.where(inside, density + log_prior(theta)[0], -np.inf)
    return density, across / total, 1 / total, factors


def curvature(theta: np.ndarray, points: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Fisher's information about theta, and the priors'; [G + 2, G + 2].

    It is 1/2 tr(K^-1 dK/di K^-1 dK/dj), positive where a Hessian need not be. Of many
    points some stand for all: the samples are not of this approximation, but found
    with its help.
    """
    every = -(-len(points) // MOST_CURVED)
    stand_for = len(points) / len(points[::every])
    points = points[::every]
    lengths = np.exp(theta[:-2])[groups]
    amplitude, noise = np.exp(theta[-2:])
    (distances,) = each_scaled_distances(points, points, lengths[None])
    slopes = 5 / 3 * amplitude * (1 + distances) * np.exp(-distances)
    scaled = (points / lengths).T
    changes = np.zeros((len(theta), len(points), len(points)))
    for column, group in enumerate(groups):
        differences = scaled[column][:, None] - scaled[column]
        changes[group] += slopes * differences**2
    changes[-2] = amplitude * matern52(distances)
    changes[-1] = noise * np.eye(len(points))
    inverse = _inverse(cholesky(changes[-2] + changes[-1]))
    turned = inverse @ changes
    across = turned.transpose(0, 2, 1).reshape(len(theta), -1)
    information = 0.5 * stand_for * turned.reshape(len(theta), -1) @ across.T
    priors = [*(0.8 * np.cosh(2 * theta[:-2])), amplitude, 30 * noise]
    return information + np.diag(np.maximum(priors, FLATTEST))


def fit(
    points: np.ndarray,
    values: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int,
    samples: int = SAMPLES,
) -> GaussianProcess:
    """The process under samples of its hyperparameters.

    Args:
        points: [N, d] in the unit cube; values: [N], standardised.
        groups: int [d], columns of one group share their length scale; default is
            a length scale for every column.
        seed: of the samples.
    """
    groups = np.arange(points.shape[1]) if groups is None else groups
    generator = np.random.default_rng(seed)
    theta = likeliest(points, values, groups)
    # Its rows are directions in which a normal step is of length 1.
    root = scipy.linalg.cholesky(curvature(theta, points, groups), lower=True)
    root = scipy.linalg.solve_triangular(root, np.eye(len(theta)), lower=True)

    def weights(steps: np.ndarray) -> np.ndarray:
        """Log posterior over the normal approximation, at steps [S, G + 2] from theta
        in those directions."""
        density = log_posteriors(theta + steps @ root, points, values, groups)[0]
        return density + 0.5 * (steps**2).sum(1)

    steps = np.zeros((samples, len(theta)))
    weight = np.repeat(weights(steps[:1]), samples)
    for _ in range(STEPS):
        steps, weight = _slice_step(weights, steps, weight, generator)
    theta = theta + steps @ root
    _, mean, variance, factors = log_posteriors(theta, points, values, groups)
    mean = mean + np.sqrt(variance) * generator.normal(size=samples)
    hyperparameters = _hyperparameters(theta, groups, mean)
    tiled = np.tile(values, (samples, 1))
    return GaussianProcess(points, tiled, hyperparameters, factors)


def _slice_step(
    weights: Callable[[np.ndarray], np.ndarray],
    steps: np.ndarray,
    weight: np.ndarray,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Each of steps [S, G + 2], of weight [S], moved along an ellipse to where it
    weighs enough; and what it weighs there."""
    other = generator.normal(size=steps.shape)
    level = weight - generator.exponential(size=len(steps))
    angle = generator.uniform(0, 2 * np.pi, size=len(steps))
    low, high = angle - 2 * np.pi, angle.copy()
    ends, weight, left = steps.copy(), weight.copy(), np.arange(len(steps))
    while left.size:
        turn = angle[left, None]
        moved = steps[left] * np.cos(turn) + other[left] * np.sin(turn)
        weighs = weights(moved)
        good = weighs >= level[left]
        ends[left[good]], weight[left[good]] = moved[good], weighs[good]
        left = left[~good]
        back = angle[left] < 0
        low[left] = np.where(back, angle[left], low[left])
        high[left] = np.where(back, high[left], angle[left])
        angle[left] = generator.uniform(low[left], high[left])
    return ends, weight


def _hyperparameters(
    theta: np.ndarray, groups: np.ndarray, mean: np.ndarray | None = None
) -> Hyperparameters:
    # Rows side by side in memory, else BLAS would not take what is made of them.
    lengths = np.ascontiguousarray(np.exp(theta[:, :-2])[:, groups])
    others = np.exp(theta[:, -2:])
    mean = np.zeros(len(theta)) if mean is None else mean
    return Hyperparameters(lengths, others[:, 0], others[:, 1], mean)


def _count(groups: np.ndarray) -> int:
    return int(groups.max()) + 1


def _bounds(groups: np.ndarray) -> np.ndarray:
    lengths = [LOG_LENGTH_RANGE] * _count(groups)
    return np.array([*lengths, LOG_AMPLITUDE_RANGE, LOG_NOISE_RANGE])


def _inverse(factor: np.ndarray) -> np.ndarray:
    """(L L^T)^-1 of L."""
    lower = np.tril(scipy.linalg.lapack.dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T
