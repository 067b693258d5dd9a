"""The process against scikit-learn's, gradients against differences, log EI against
direct and closed forms."""

import numpy as np
import pytest
import scipy.optimize
from scipy import integrate, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from tuners import acquisition, gaussian_process
from tuners.gaussian_process import GaussianProcess, Hyperparameters

GIVEN = Hyperparameters(np.array([0.3, 0.7, 2.0]), 1.7, 0.01, 0.4)


def data(count: int = 15, dimensions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    points = generator.random((count, dimensions))
    return points, np.sin(5 * points[:, 0]) + points[:, 1] ** 2


def peer() -> GaussianProcessRegressor:
    points, values = data()
    kernel = ConstantKernel(GIVEN.amplitude) * Matern(GIVEN.length_scales, nu=2.5)
    fixed = GaussianProcessRegressor(kernel, alpha=GIVEN.noise, optimizer=None)
    return fixed.fit(points, values - GIVEN.mean)


def test_the_kernel_is_scikit_learns() -> None:
    points, _ = data()
    distances = gaussian_process.scaled_distances(
        points, points[:4], GIVEN.length_scales
    )
    np.testing.assert_allclose(
        gaussian_process.matern52(distances),
        Matern(GIVEN.length_scales, nu=2.5)(points, points[:4]),
        atol=1e-7,  # a distance of nothing comes out as 1e-8
    )


def test_the_posterior_is_scikit_learns() -> None:
    x = np.random.default_rng(1).random((20, 3))
    mean, variance = GaussianProcess(*data(), GIVEN).posterior(x)
    peer_mean, peer_deviation = peer().predict(x, return_std=True)
    np.testing.assert_allclose(mean, peer_mean + GIVEN.mean, rtol=1e-9)
    np.testing.assert_allclose(variance, peer_deviation**2, rtol=1e-7)


def test_the_posterior_at_one_point_is_the_same_with_its_gradients() -> None:
    model = GaussianProcess(*data(), GIVEN)
    for x in np.random.default_rng(2).random((5, 3)):
        mean, variance, mean_slope, variance_slope = model.posterior_gradients(x)
        np.testing.assert_allclose([[mean], [variance]], model.posterior(x[None]))
        for slope, which in ((mean_slope, 0), (variance_slope, 1)):
            numeric = scipy.optimize.approx_fprime(
                x, lambda at, which=which: model.posterior(at[None])[which][0], 1e-7
            )
            np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_at_a_point_that_was_seen() -> None:
    points, values = data()
    model = GaussianProcess(points, values, GIVEN)
    slopes = model.posterior_gradients(points[3])[2:]
    assert np.isfinite(slopes).all()


def test_the_marginal_likelihood_is_scikit_learns_and_its_mean_the_likeliest() -> None:
    points, values = data()
    theta = np.log([*GIVEN.length_scales, GIVEN.amplitude, GIVEN.noise])
    groups = np.arange(3)
    loss, _ = gaussian_process.negative_log_posterior(theta, points, values, groups)
    prior, _ = gaussian_process.log_prior(theta)
    kernel = ConstantKernel(GIVEN.amplitude) * Matern(GIVEN.length_scales, nu=2.5)

    def evidence(mean: float) -> float:
        fixed = GaussianProcessRegressor(kernel, alpha=GIVEN.noise, optimizer=None)
        return fixed.fit(points, values - mean).log_marginal_likelihood_value_

    best = scipy.optimize.minimize_scalar(lambda mean: -evidence(mean))
    constant = len(values) / 2 * np.log(2 * np.pi)
    assert -loss - prior - constant == pytest.approx(-best.fun, rel=1e-6)


def test_the_fits_gradient_also_where_columns_share_a_length_scale() -> None:
    points, values = data()
    for groups in (np.array([0, 1, 2]), np.array([0, 1, 1])):
        theta = np.array([-0.5, 0.3, 0.8][: groups.max() + 1] + [0.2, -4.0])

        def loss(at: np.ndarray, groups: np.ndarray = groups) -> float:
            args = (at, points, values, groups)
            return gaussian_process.negative_log_posterior(*args)[0]

        _, gradient = gaussian_process.negative_log_posterior(
            theta, points, values, groups
        )
        numeric = scipy.optimize.approx_fprime(theta, loss)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_the_prior_prefers_length_scales_near_one() -> None:
    value, gradient = gaussian_process.log_prior(np.array([0.0, 0.0, -5.0]))
    longer, _ = gaussian_process.log_prior(np.array([2.0, 0.0, -5.0]))
    shorter, _ = gaussian_process.log_prior(np.array([-2.0, 0.0, -5.0]))
    assert gradient[0] == 0 and longer < value and shorter < value


def test_the_fit_finds_which_dimensions_matter_and_how_much_noise_there_is() -> None:
    generator = np.random.default_rng(3)
    points = generator.random((80, 4))
    clean = np.sin(7 * points[:, 1])
    values = clean + generator.normal(scale=0.3, size=80)
    deviation = values.std()
    values = (values - values.mean()) / deviation
    found = gaussian_process.fit(points, values).hyperparameters
    lengths = found.length_scales
    assert lengths.argmin() == 1 and lengths[1] < 0.5 < np.delete(lengths, 1).min()
    assert np.sqrt(found.noise) * deviation == pytest.approx(0.3, rel=0.25)


def test_columns_of_a_group_share_their_length_scale() -> None:
    groups = np.array([0, 1, 1])
    points, values = data()
    lengths = gaussian_process.fit(
        points, gaussian_process.standardised(values), groups=groups
    ).hyperparameters.length_scales
    assert lengths[1] == lengths[2] != lengths[0]


def test_a_believed_point_keeps_the_mean_and_loses_its_variance() -> None:
    model = GaussianProcess(*data(), GIVEN)
    x = np.array([[0.9, 0.1, 0.5]])
    before, after = model.posterior(x), model.believing(x).posterior(x)
    np.testing.assert_allclose(after[0], before[0])
    assert after[1] < min(before[1], 1.01 * GIVEN.noise)


def test_repeated_points_without_noise_are_no_obstacle() -> None:
    points, values = data()
    twice = GaussianProcess(
        np.repeat(points, 3, axis=0),
        np.repeat(values, 3),
        Hyperparameters(GIVEN.length_scales, 1.0, 0.0, 0.0),
    )
    mean, variance = twice.posterior(points)
    np.testing.assert_allclose(mean, values, atol=1e-4)
    assert (variance > 0).all()


def test_what_is_not_finite_is_refused_rather_than_tried_for_ever() -> None:
    with pytest.raises(ValueError, match="not finite"):
        gaussian_process.cholesky(np.array([[1.0, np.nan], [np.nan, 1.0]]))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=30),
        np.exp(np.random.default_rng(0).normal(size=30) * 4),
        np.array([0.1, 0.2, 0.3, 0.25, 1e30]),
        np.array([0.9] * 9 + [0.1]),
        np.array([5.0, 7.0]),
        np.array([-1e300, 1e308, 0.0, 1e307]),
    ],
)
def test_standardised_values_keep_their_order(values: np.ndarray) -> None:
    found = gaussian_process.standardised(values)
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.std() == pytest.approx(1)
    assert (np.diff(found[np.argsort(values)]) >= -1e-12).all()
    assert found.argmin() == values.argmin()


def test_equal_values_are_zeros_and_an_outlier_hides_nothing() -> None:
    assert not gaussian_process.standardised(np.full(4, 1e9)).any()
    plain = np.linspace(0.1, 0.9, 20)
    found = gaussian_process.standardised(np.append(plain, 1e12))
    assert np.ptp(found[:20]) > 1.0


def test_log_h_is_the_log_where_that_can_be_computed() -> None:
    u = np.linspace(-5, 30, 71)
    direct = np.log(stats.norm.pdf(u) + u * stats.norm.cdf(u))
    np.testing.assert_allclose(acquisition.log_h(u), direct, rtol=1e-8, atol=1e-12)


def test_log_h_in_the_far_tail_is_the_closed_form() -> None:
    u = -np.array([30.0, 199.0, 201.0, 1e3, 1e6, 1e9])
    closed = stats.norm.logpdf(u) - 2 * np.log(-u) - 3 / u**2
    np.testing.assert_allclose(acquisition.log_h(u), closed, rtol=3e-7)


def test_log_h_has_no_steps_where_its_forms_meet() -> None:
    for edge in (-1.0, acquisition.FAR):
        below, above = acquisition.log_h(edge + np.array([-1e-9, 1e-9]))
        slope = -edge + 2 / max(-edge, 1)
        assert 0 < above - below < 2e-9 * slope + 1e-9


def test_log_expected_improvement_is_the_log_of_the_integral() -> None:
    model = GaussianProcess(*data(), GIVEN)
    for x in np.random.default_rng(4).random((5, 3)):
        mean, variance = (float(part[0]) for part in model.posterior(x[None]))
        deviation = np.sqrt(variance)
        best = mean - 0.5 * deviation
        integral, _ = integrate.quad(
            lambda f: (best - f) * stats.norm.pdf(f, mean, deviation),  # noqa: B023
            best - 12 * deviation,
            best,
        )
        found = acquisition.log_expected_improvement(model, x[None], best=best)
        assert found[0] == pytest.approx(np.log(integral), rel=1e-6)


@pytest.mark.parametrize("best", [-0.5, -3.0, -60.0])
def test_its_gradient(best: float) -> None:
    model = GaussianProcess(*data(), GIVEN)
    for x in np.random.default_rng(5).random((5, 3)):
        value, gradient = acquisition.log_expected_improvement_gradient(
            model, x, best=best
        )

        def at(point: np.ndarray) -> float:
            rows = point[None]
            return acquisition.log_expected_improvement(model, rows, best=best)[0]

        assert value == pytest.approx(at(x))
        step = 1e-6
        numeric = [
            (at(x + step * e) - at(x - step * e)) / (2 * step) for e in np.eye(3)
        ]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)
