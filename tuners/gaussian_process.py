"""A Gaussian process on the unit cube: ARD Matern 5/2, constant mean, learned noise.

The kernel is that of Snoek, Larochelle & Adams (2012). A process here has several sets
of hyperparameters, samples of what they may be (`inference`), and predicts by each.
Points are rows of [0, 1]^d; values are to be minimised, and standardised before.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.stats

SQRT5 = np.sqrt(5.0)


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """What the process is made of, S times.

    length_scales: [S, d], in units of the cube's side; amplitude: [S], variance of the
    function; noise: [S], variance of an observation around it; mean: [S], of the
    function.
    """

    length_scales: np.ndarray
    amplitude: np.ndarray
    noise: np.ndarray
    mean: np.ndarray

    @property
    def typical_length_scales(self) -> np.ndarray:
        """Geometric means over the samples; [d]."""
        return np.exp(np.log(self.length_scales).mean(0))

    def covariance(self, points: np.ndarray) -> np.ndarray:
        """Of observations at points [N, d]; [S, N, N]."""
        covariances = np.empty((len(self.noise), len(points), len(points)))
        each = each_scaled_distances(points, points, self.length_scales)
        for covariance, amplitude, distances in zip(
            covariances, self.amplitude, each, strict=True
        ):
            np.multiply(amplitude, matern52(distances), out=covariance)
        diagonal = np.arange(len(points))
        covariances[:, diagonal, diagonal] += self.noise[:, None]
        return covariances


def scaled_distances(
    a: np.ndarray, b: np.ndarray, length_scales: np.ndarray
) -> np.ndarray:
    """sqrt5 r with r^2 = sum_d ((a_d - b_d) / l_d)^2; [N, d], [M, d], [S, d] ->
    [S, N, M]."""
    return np.array([*each_scaled_distances(a, b, length_scales)])


def each_scaled_distances(
    a: np.ndarray, b: np.ndarray, length_scales: np.ndarray
) -> Iterator[np.ndarray]:
    """The same, [N, M] for each set of length scales: one fits into a processor's
    cache, where all would not."""
    # Rows side by side in memory, else BLAS would not take them.
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    for lengths in length_scales:
        scaled_a, scaled_b = a / lengths, b / lengths
        squares = np.square(scaled_a).sum(1)[:, None] + np.square(scaled_b).sum(1)
        squares -= 2 * scaled_a @ scaled_b.T
        np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares)
        yield np.multiply(SQRT5, squares, out=squares)


def matern52(distances: np.ndarray) -> np.ndarray:
    """(1 + s + s^2/3) exp(-s) of s = sqrt5 r, elementwise."""
    value = distances**2
    value /= 3
    value += 1 + distances
    decay = np.negative(distances)
    value *= np.exp(decay, out=decay)
    return value


def cholesky(matrices: np.ndarray) -> np.ndarray:
    """Lower factors of [.., N, N]; the diagonals grow, from 1e-10 of their means, until
    there are any."""
    with contextlib.suppress(np.linalg.LinAlgError):
        factors = np.linalg.cholesky(matrices)
        if np.isfinite(factors[..., -1, -1]).all():  # else the matrices are not
            return factors
    if not np.isfinite(matrices).all():
        raise ValueError("a covariance is not finite, so no jitter would help")
    means = np.diagonal(matrices, axis1=-2, axis2=-1).mean(-1)
    diagonals = means[..., None, None] * np.eye(matrices.shape[-1])
    jitter = 1e-10
    while True:
        try:
            return np.linalg.cholesky(matrices + jitter * diagonals)
        except np.linalg.LinAlgError:
            jitter *= 10


def inverted(factors: np.ndarray) -> np.ndarray:
    """L^-1 of each lower factor; [S, N, N]."""
    return np.array([scipy.linalg.lapack.dtrtri(each, lower=1)[0] for each in factors])


@dataclasses.dataclass(frozen=True)
class GaussianProcess:
    """The process given values at points [N, d], under S sets of hyperparameters.

    values: [S, N], since what is only believed to be seen differs between them.
    factors: of the observations' covariances, [S, N, N], if they are at hand.
    """

    points: np.ndarray
    values: np.ndarray
    hyperparameters: Hyperparameters
    factors: np.ndarray | None = None

    @functools.cached_property
    def _inverse_factor(self) -> np.ndarray:
        """L^-1 [S, N, N], L L^T = K + noise I; a product is cheaper than a solve."""
        if self.factors is not None:
            return inverted(self.factors)
        return inverted(cholesky(self.hyperparameters.covariance(self.points)))

    @functools.cached_property
    def _weights(self) -> np.ndarray:
        centred = (self.values - self.hyperparameters.mean[:, None])[..., None]
        lower = self._inverse_factor
        return (lower.transpose(0, 2, 1) @ (lower @ centred))[..., 0]

    @functools.cached_property
    def best(self) -> np.ndarray:
        """The smallest mean at a point that was seen; [S].

        The smallest value that was seen would be one with lucky noise.
        """
        return self.posterior(self.points)[0].min(1)

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the function, without noise, at x [M, d]; [S, M]."""
        given = self.hyperparameters
        mean, variance = np.empty((2, len(given.mean), len(x)))
        each = each_scaled_distances(x, self.points, given.length_scales)
        for sample, distances in enumerate(each):
            cross = matern52(distances)
            cross *= given.amplitude[sample]
            half = cross @ self._inverse_factor[sample].T
            mean[sample] = given.mean[sample] + cross @ self._weights[sample]
            variance[sample] = given.amplitude[sample]
            variance[sample] -= np.einsum("mn,mn->m", half, half)
        return mean, self._positive(variance)

    def posterior_gradients(
        self, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean and variance at one point x [d], [S], and the gradients, [S, d]."""
        given = self.hyperparameters
        lengths = given.length_scales[:, None]
        differences = (x - self.points) / lengths
        distances = SQRT5 * np.sqrt(np.einsum("snd,snd->sn", differences, differences))
        decay = given.amplitude[:, None] * np.exp(-distances)
        cross = decay * (1 + distances + distances**2 / 3)
        # dk/dx = -5/3 (1 + s) exp(-s) (x - x') / l^2, smooth where s is 0.
        slopes = (-5 / 3 * decay * (1 + distances))[..., None] * differences / lengths
        half = self._inverse_factor @ cross[..., None]
        of_variance = -2 * half.transpose(0, 2, 1) @ self._inverse_factor
        both = np.concatenate(
            [self._weights[:, None], of_variance], axis=1
        )  # [S, 2, N]
        variance = given.amplitude - np.einsum("sni,sni->s", half, half)
        mean_slope, variance_slope = (both @ slopes).transpose(1, 0, 2)
        return (
            given.mean + np.einsum("sn,sn->s", cross, self._weights),
            self._positive(variance[:, None])[:, 0],
            mean_slope,
            variance_slope,
        )

    def _positive(self, variance: np.ndarray) -> np.ndarray:
        # Cancellation can leave less than nothing at a point seen without noise.
        return np.maximum(variance, 1e-12 * self.hyperparameters.amplitude[:, None])

    def without(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, noise included, that the other points predict of the value
        at one of them; [S]."""
        precision = np.square(self._inverse_factor[:, :, place]).sum(1)
        away = self._weights[:, place] / precision
        return self.values[:, place] - away, 1 / precision

    def believing(self, points: np.ndarray) -> "GaussianProcess":
        """As if each of points [M, d] had been seen at its posterior mean."""
        return GaussianProcess(
            np.concatenate([self.points, points]),
            np.concatenate([self.values, self.posterior(points)[0]], axis=1),
            self.hyperparameters,
        )


def standardised(values: np.ndarray) -> np.ndarray:
    """Values [N] to be minimised, increasing still, nearly normal: mean 0, variance 1.

    Bad outliers are cut at three times the better three quarters' range; then comes
    the likeliest Yeo-Johnson transform. Equal values become zeros.
    """
    values = np.clip(values, -1e100, 1e100)  # whose squares are finite
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
