"""A Gaussian process on the unit cube: ARD Matern 5/2, constant mean, learned noise.

The kernel is that of Snoek, Larochelle & Adams (2012). Its hyperparameters are fitted
with priors rather than integrated: of ten to twenty searches each on four functions,
slice sampling found nothing better and took five times as long. Points are rows of
[0, 1]^d; values are to be minimised, and standardised before.
"""

import dataclasses
import functools

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.stats

SQRT5 = np.sqrt(5.0)
LOG_LENGTH_RANGE = np.log([1e-2, 1e2])
LOG_AMPLITUDE_RANGE = np.log([1e-3, 1e3])
LOG_NOISE_RANGE = np.log([1e-6, 1e1])
# One start is enough: three found no better points.
FIRST_LENGTH, FIRST_AMPLITUDE, FIRST_NOISE = 0.5, 1.0, 1e-3


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """What the process is made of.

    length_scales: [d], in units of the cube's side; amplitude: variance of the
    function; noise: variance of an observation around it; mean: of the function.
    """

    length_scales: np.ndarray
    amplitude: float
    noise: float
    mean: float


def scaled_distances(
    a: np.ndarray, b: np.ndarray, length_scales: np.ndarray
) -> np.ndarray:
    """sqrt5 r with r^2 = sum_d ((a_d - b_d) / l_d)^2; [N, d], [M, d] -> [N, M]."""
    a, b = a / length_scales, b / length_scales
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return SQRT5 * np.sqrt(np.maximum(squares, 0.0))


def matern52(distances: np.ndarray) -> np.ndarray:
    """(1 + s + s^2/3) exp(-s) of s = sqrt5 r, elementwise."""
    return (1 + distances + distances**2 / 3) * np.exp(-distances)


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower factor; the diagonal grows, from 1e-10 of its mean, until there is one."""
    jitter = 0.0
    while True:
        try:
            return np.linalg.cholesky(matrix + jitter * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            jitter = max(10 * jitter, 1e-10 * float(np.mean(np.diag(matrix))))


@dataclasses.dataclass(frozen=True)
class GaussianProcess:
    """The process given values [N] at points [N, d]."""

    points: np.ndarray
    values: np.ndarray
    hyperparameters: Hyperparameters

    @functools.cached_property
    def _inverse_factor(self) -> np.ndarray:
        """L^-1 [N, N] with L L^T = K + noise I; a product is cheaper than a solve."""
        kernel = self._kernel(self.points)
        kernel[np.diag_indices_from(kernel)] += self.hyperparameters.noise
        identity = np.eye(len(kernel))
        return scipy.linalg.solve_triangular(cholesky(kernel), identity, lower=True)

    @functools.cached_property
    def _weights(self) -> np.ndarray:
        centred = self.values - self.hyperparameters.mean
        return self._inverse_factor.T @ (self._inverse_factor @ centred)

    def _kernel(self, x: np.ndarray) -> np.ndarray:
        given = self.hyperparameters
        distances = scaled_distances(x, self.points, given.length_scales)
        return given.amplitude * matern52(distances)

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the function (without noise) at x [M, d]; [M] each."""
        cross = self._kernel(x)
        half = cross @ self._inverse_factor.T
        mean = self.hyperparameters.mean + cross @ self._weights
        return mean, self._positive(self.hyperparameters.amplitude - (half**2).sum(1))

    def posterior_gradients(
        self, x: np.ndarray
    ) -> tuple[float, float, np.ndarray, np.ndarray]:
        """Mean and variance at one point x [d], and the gradient [d] of each."""
        given = self.hyperparameters
        differences = (x - self.points) / given.length_scales
        distances = SQRT5 * np.sqrt((differences**2).sum(1))
        decay = given.amplitude * np.exp(-distances)
        cross = decay * (1 + distances + distances**2 / 3)
        # dk/dx = -5/3 (1 + s) exp(-s) (x - x') / l^2, smooth where s is 0.
        slopes = differences * (-5 / 3 * decay * (1 + distances))[:, None]
        slopes /= given.length_scales
        half = self._inverse_factor @ cross
        return (
            given.mean + cross @ self._weights,
            self._positive(given.amplitude - half @ half),
            self._weights @ slopes,
            -2 * (half @ self._inverse_factor) @ slopes,
        )

    def _positive(self, variance: np.ndarray) -> np.ndarray:
        # Cancellation can leave less than nothing at a point seen without noise.
        return np.maximum(variance, 1e-12 * self.hyperparameters.amplitude)

    def believing(self, points: np.ndarray) -> "GaussianProcess":
        """As if each of points [M, d] had been seen at its posterior mean."""
        return GaussianProcess(
            np.concatenate([self.points, points]),
            np.concatenate([self.values, self.posterior(points)[0]]),
            self.hyperparameters,
        )


def standardised(values: np.ndarray) -> np.ndarray:
    """Values [N] to be minimised, increasing still, nearly normal: mean 0, variance 1.

    Bad outliers are cut at three times the better three quarters' range; then comes
    the likeliest Yeo-Johnson transform. Equal values become zeros.
    """
    bound = np.quantile(values, 0.75)
    cut = np.minimum(values, bound + 3 * (bound - values.min()))
    if np.ptp(cut) <= 1e-12 * max(1.0, np.abs(cut).max()):
        cut = values  # three quarters are equal: the rest is what can be learned
    deviation = cut.std()
    if deviation <= 1e-12 * max(1e-300, np.abs(cut).max()):
        return np.zeros(len(values))
    cut = (cut - cut.mean()) / deviation
    power = scipy.optimize.minimize_scalar(
        lambda power: -scipy.stats.yeojohnson_llf(power, cut),
        bounds=(-2.0, 4.0),
        method="bounded",
    ).x
    warped = scipy.stats.yeojohnson(cut, lmbda=power)
    return (warped - warped.mean()) / warped.std()


def log_prior(theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Up to a constant, and its gradient, of theta as in `negative_log_posterior`.

    Length scales: -0.2 cosh(2 log l), flat near 1 and steep beyond 1/4 and 4.
    Amplitude: Gamma(2, 1). Noise: Gamma(1.1, 30). (Those of Optuna's GPSampler.)
    """
    logs, (log_amplitude, log_noise) = theta[:-2], theta[-2:]
    amplitude, noise = np.exp(log_amplitude), np.exp(log_noise)
    value = -0.2 * np.cosh(2 * logs).sum()
    value += log_amplitude - amplitude + 0.1 * log_noise - 30 * noise
    slopes = [1 - amplitude, 0.1 - 30 * noise]
    return value, np.concatenate([-0.4 * np.sinh(2 * logs), slopes])


def negative_log_posterior(
    theta: np.ndarray, points: np.ndarray, values: np.ndarray, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    """Of theta = [log l of each group.., log amplitude, log noise], and its gradient.

    Args:
        theta: [G + 2].
        points: [N, d]; values: [N].
        groups: int [d], which length scale each column has.

    The mean is the likeliest one given theta, so it adds nothing to the gradient.
    """
    lengths = np.exp(theta[:-2])[groups]
    amplitude, noise = np.exp(theta[-2:])
    distances = scaled_distances(points, points, lengths)
    decay = amplitude * np.exp(-distances)
    signal = decay * (1 + distances + distances**2 / 3)
    kernel = signal.copy()
    kernel[np.diag_indices_from(kernel)] += noise
    factor = cholesky(kernel)
    inverse = _inverse(factor)
    mean = _likeliest_mean(inverse, values)
    weights = inverse @ (values - mean)
    loss = 0.5 * (values - mean) @ weights + np.log(np.diag(factor)).sum()
    outer = 0.5 * (inverse - np.outer(weights, weights))  # d loss / d kernel
    # d kernel / d log l_d = 5/3 amplitude (1 + s) exp(-s) (difference_d / l_d)^2
    slopes = 5 / 3 * outer * decay * (1 + distances)
    scaled = points / lengths
    pairs = 2 * (slopes.sum(0) @ scaled**2 - (slopes @ scaled * scaled).sum(0))
    prior, prior_gradient = log_prior(theta)
    by_group = np.bincount(groups, pairs, minlength=len(theta) - 2)
    gradient = np.concatenate(
        [by_group, [(outer * signal).sum(), noise * np.trace(outer)]]
    )
    return loss - prior, gradient - prior_gradient


def fit(
    points: np.ndarray, values: np.ndarray, *, groups: np.ndarray | None = None
) -> GaussianProcess:
    """The process with the likeliest hyperparameters under the priors.

    Args:
        points: [N, d] in the unit cube; values: [N], standardised.
        groups: int [d], columns of one group share their length scale; default is
            a length scale for every column.
    """
    groups = np.arange(points.shape[1]) if groups is None else groups
    count = int(groups.max()) + 1
    first = np.log([FIRST_LENGTH] * count + [FIRST_AMPLITUDE, FIRST_NOISE])
    theta = scipy.optimize.minimize(
        negative_log_posterior,
        first,
        args=(points, values, groups),
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_LENGTH_RANGE] * count + [LOG_AMPLITUDE_RANGE, LOG_NOISE_RANGE],
        options={"maxiter": 100, "gtol": 1e-2, "ftol": 1e-7},
    ).x
    lengths, (amplitude, noise) = np.exp(theta[:-2])[groups], np.exp(theta[-2:])
    kernel = amplitude * matern52(scaled_distances(points, points, lengths))
    kernel[np.diag_indices_from(kernel)] += noise
    mean = _likeliest_mean(_inverse(cholesky(kernel)), values)
    found = Hyperparameters(lengths, float(amplitude), float(noise), float(mean))
    return GaussianProcess(points, values, found)


def _inverse(factor: np.ndarray) -> np.ndarray:
    """(L L^T)^-1 of L."""
    lower = np.tril(scipy.linalg.lapack.dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T


def _likeliest_mean(inverse: np.ndarray, values: np.ndarray) -> float:
    ones = inverse.sum(0)
    return ones @ values / ones.sum()
