"""The process against scikit-learn's, gradients against differences, log EI against
direct and closed forms."""

import numpy as np
import pytest
import scipy.optimize
from scipy import integrate, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from tuners import acquisition, gaussian_process, inference
from tuners.gaussian_process import GaussianProcess, Hyperparameters
from tuners.oracle import one_thread

GIVEN = Hyperparameters(
    np.array([[0.3, 0.7, 2.0], [1.5, 0.2, 0.4]]),
    np.array([1.7, 0.6]),
    np.array([0.01, 0.05]),
    np.array([0.4, -0.2]),
)
SAMPLES = range(len(GIVEN.mean))


@pytest.fixture(autouse=True)
def unthreaded():
    """As in the oracle; on busy cores threads wait for each other far too long."""
    with one_thread():
        yield


def data(count: int = 15, dimensions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    points = generator.random((count, dimensions))
    return points, np.sin(5 * points[:, 0]) + points[:, 1] ** 2


def process(given: Hyperparameters = GIVEN) -> GaussianProcess:
    points, values = data()
    return GaussianProcess(points, np.tile(values, (len(given.mean), 1)), given)


def peer(sample: int, mean: float | None = None) -> GaussianProcessRegressor:
    points, values = data()
    kernel = ConstantKernel(GIVEN.amplitude[sample])
    kernel *= Matern(GIVEN.length_scales[sample], nu=2.5)
    noise = GIVEN.noise[sample]
    fixed = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    return fixed.fit(points, values - (GIVEN.mean[sample] if mean is None else mean))


def test_the_kernel_is_scikit_learns() -> None:
    points, _ = data()
    distances = gaussian_process.scaled_distances(
        points, points[:4], GIVEN.length_scales
    )
    found = gaussian_process.matern52(distances)
    for each, lengths in zip(found, GIVEN.length_scales, strict=True):
        expected = Matern(lengths, nu=2.5)(points, points[:4])
        # A distance of nothing comes out as 1e-8.
        np.testing.assert_allclose(each, expected, atol=1e-7)


def test_the_posterior_is_scikit_learns() -> None:
    x = np.random.default_rng(1).random((20, 3))
    mean, variance = process().posterior(x)
    for sample in SAMPLES:
        peer_mean, peer_deviation = peer(sample).predict(x, return_std=True)
        peer_mean += GIVEN.mean[sample]
        np.testing.assert_allclose(mean[sample], peer_mean, rtol=1e-9)
        np.testing.assert_allclose(variance[sample], peer_deviation**2, rtol=1e-7)


def test_the_posterior_at_one_point_is_the_same_with_its_gradients() -> None:
    model = process()
    for x in np.random.default_rng(2).random((5, 3)):
        mean, variance, *slopes = model.posterior_gradients(x)
        both = np.array([mean, variance])[..., None]
        np.testing.assert_allclose(both, model.posterior(x[None]))
        for which, slope in enumerate(slopes):
            numeric = scipy.optimize.approx_fprime(
                x, lambda at, which=which: model.posterior(at[None])[which][:, 0], 1e-7
            )
            np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_at_a_point_that_was_seen() -> None:
    slopes = process().posterior_gradients(data()[0][3])[2:]
    assert np.isfinite(slopes).all()


def test_the_best_is_a_mean_and_no_lucky_value() -> None:
    points, values = data()
    values[4] -= 2.0  # luck
    noisy = Hyperparameters(
        GIVEN.length_scales[:1], np.ones(1), np.array([0.5]), np.zeros(1)
    )
    model = GaussianProcess(points, values[None], noisy)
    assert model.best == model.posterior(points)[0].min() > values.min() + 0.5


def theta() -> np.ndarray:
    others = np.stack([GIVEN.amplitude, GIVEN.noise], axis=1)
    return np.log(np.concatenate([GIVEN.length_scales, others], axis=1))


def test_the_posterior_of_hyperparameters_is_scikit_learns() -> None:
    """Its mean integrated over all that it may be, by numbers here."""
    points, values = data()
    groups = np.arange(3)
    found, means, variances, _ = inference.log_posteriors(
        theta(), points, values, groups
    )
    constant = (len(values) - 1) / 2 * np.log(2 * np.pi)
    for sample in SAMPLES:
        at = np.linspace(-12, 12, 241) * np.sqrt(variances[sample]) + means[sample]
        logs = [peer(sample, mean).log_marginal_likelihood_value_ for mean in at]
        likely = np.exp(np.array(logs) - max(logs))
        total = integrate.trapezoid(likely, at)
        prior, _ = inference.log_prior(theta()[sample])
        expected = np.log(total) + max(logs) + prior + constant
        assert found[sample] == pytest.approx(expected, rel=1e-6)
        average = integrate.trapezoid(likely * at, at) / total
        assert means[sample] == pytest.approx(average, rel=1e-6)
        spread = integrate.trapezoid(likely * (at - average) ** 2, at) / total
        assert variances[sample] == pytest.approx(spread, rel=1e-6)
        one, _ = inference.negative_log_posterior(
            theta()[sample], points, values, groups
        )
        assert -one == pytest.approx(found[sample])


def test_nothing_is_likely_out_of_range() -> None:
    outside = theta()
    outside[0, 0], outside[1, -1] = np.log(200.0), np.log(1e-7)
    found = inference.log_posteriors(outside, *data(), np.arange(3))[0]
    assert (found == -np.inf).all()


def test_the_posteriors_gradient_also_where_columns_share_a_length_scale() -> None:
    points, values = data()
    for groups in (np.array([0, 1, 2]), np.array([0, 1, 1])):
        at = np.array([-0.5, 0.3, 0.8][: groups.max() + 1] + [0.2, -4.0])

        def loss(at: np.ndarray, groups: np.ndarray = groups) -> float:
            return inference.negative_log_posterior(at, points, values, groups)[0]

        _, gradient = inference.negative_log_posterior(at, points, values, groups)
        numeric = scipy.optimize.approx_fprime(at, loss)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_the_prior_prefers_length_scales_near_one() -> None:
    rows = np.array([[0.0, 0.0, -5.0], [2.0, 0.0, -5.0], [-2.0, 0.0, -5.0]])
    (value, longer, shorter), gradients = inference.log_prior(rows)
    assert gradients[0, 0] == 0 and longer < value and shorter < value


def test_the_curvature_is_what_fishers_information_is() -> None:
    """The mean, over data from the process itself, of a loss's second derivative."""
    points, _ = data(8)
    groups, at = np.array([0, 1, 1]), np.array([-0.6, 0.2, 0.1, -1.0])
    found = inference.curvature(at, points, groups)
    given = inference._hyperparameters(at[None], groups)
    half = np.linalg.cholesky(given.covariance(points)[0])

    def covariance(theta: np.ndarray) -> np.ndarray:
        return inference._hyperparameters(theta[None], groups).covariance(points)[0]

    inverse = np.linalg.inv(half @ half.T)
    step = 1e-5 * np.eye(4)
    slopes = [(covariance(at + e) - covariance(at - e)) / 2e-5 for e in step]
    expected = [
        [0.5 * np.trace(inverse @ a @ inverse @ b) for a in slopes] for b in slopes
    ]
    priors = np.diag(found - expected)
    np.testing.assert_allclose(found - np.diag(priors), expected, atol=1e-6)
    numeric = [
        -(inference.log_prior(at + e)[1] - inference.log_prior(at - e)[1]) @ e / 2e-10
        for e in step
    ]
    np.testing.assert_allclose(
        priors, np.maximum(numeric, inference.FLATTEST), rtol=1e-4
    )


def test_samples_are_of_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the posterior itself, summed over a grid of its three numbers.

    Its tail of ever less noise takes long to walk along, and tells nothing apart.
    """
    monkeypatch.setattr(inference, "STEPS", 60)
    points = np.linspace(0, 1, 6)[:, None]
    values = gaussian_process.standardised(np.sin(5 * points[:, 0]))
    groups = np.array([0])
    axes = [np.linspace(*ends, 40) for ends in ((-3, 3), (-4, 3), (-13.8, 1))]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    logs = inference.log_posteriors(grid, points, values, groups)[0]
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    mean = shares @ grid
    deviation = np.sqrt(shares @ (grid - mean) ** 2)
    found = inference.fit(points, values, seed=0, samples=400).hyperparameters
    samples = np.log([found.length_scales[:, 0], found.amplitude, found.noise]).T
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.3)
    np.testing.assert_allclose(samples.std(0), deviation, rtol=0.2)


def test_samples_are_a_function_of_data_and_seed() -> None:
    points, values = data()
    first, again, other = (
        inference.fit(points, values, seed=seed).hyperparameters for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.length_scales, again.length_scales)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert (first.length_scales != other.length_scales).all()
    assert len(first.mean) == inference.SAMPLES


def test_the_fit_finds_which_dimensions_matter_and_how_much_noise_there_is() -> None:
    generator = np.random.default_rng(3)
    points = generator.random((80, 4))
    clean = np.sin(7 * points[:, 1])
    values = clean + generator.normal(scale=0.3, size=80)
    deviation = values.std()
    values = (values - values.mean()) / deviation
    found = inference.fit(points, values, seed=0).hyperparameters
    lengths = found.typical_length_scales
    assert lengths.argmin() == 1 and lengths[1] < 0.5 < np.delete(lengths, 1).min()
    noise = np.sqrt(found.noise.mean()) * deviation
    assert noise == pytest.approx(0.3, rel=0.25)


def test_few_points_leave_it_open_which_dimensions_matter() -> None:
    """The likeliest length scales alone would say that it is settled."""
    points, values = data(8, 6)
    values = gaussian_process.standardised(values)
    few = inference.fit(points, values, seed=0, samples=50).hyperparameters
    logs = np.log(few.length_scales)
    assert (logs.std(0) > 0.3).all()
    points, values = data(100, 6)
    values = gaussian_process.standardised(values)
    many = inference.fit(points, values, seed=0, samples=50).hyperparameters
    assert np.log(many.length_scales[:, 0]).std() < 0.5 * logs[:, 0].std()


def test_columns_of_a_group_share_their_length_scale() -> None:
    groups = np.array([0, 1, 1])
    points, values = data()
    lengths = inference.fit(
        points, gaussian_process.standardised(values), groups=groups, seed=0
    ).hyperparameters.length_scales
    np.testing.assert_array_equal(lengths[:, 1], lengths[:, 2])
    assert (lengths[:, 1] != lengths[:, 0]).all()


def test_what_the_others_predict_is_the_posterior_without_the_point() -> None:
    points, values = data()
    mean, variance = process().without(4)
    others = np.delete(points, 4, axis=0), np.tile(np.delete(values, 4), (2, 1))
    of_function = GaussianProcess(*others, GIVEN).posterior(points[4:5])
    np.testing.assert_allclose(mean, of_function[0][:, 0])
    np.testing.assert_allclose(variance, of_function[1][:, 0] + GIVEN.noise)


def test_a_believed_point_keeps_the_mean_and_loses_its_variance() -> None:
    model = process()
    x = np.array([[0.9, 0.1, 0.5]])
    before, after = model.posterior(x), model.believing(x).posterior(x)
    np.testing.assert_allclose(after[0], before[0])
    assert (after[1][:, 0] < np.minimum(before[1][:, 0], 1.01 * GIVEN.noise)).all()


def test_repeated_points_without_noise_are_no_obstacle() -> None:
    points, values = data()
    twice = GaussianProcess(
        np.repeat(points, 3, axis=0),
        np.repeat(values, 3)[None],
        Hyperparameters(GIVEN.length_scales[:1], np.ones(1), np.zeros(1), np.zeros(1)),
    )
    mean, variance = twice.posterior(points)
    np.testing.assert_allclose(mean[0], values, atol=1e-4)
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


def shifted(below: float) -> GaussianProcess:
    """A process whose best lies so far below what it has seen."""
    model = process()
    model.__dict__["best"] = model.values.min(1) - below
    return model


def test_log_expected_improvement_is_the_log_of_the_integral() -> None:
    model = shifted(0.3)
    for x in np.random.default_rng(4).random((5, 3)):
        integrals = []
        means, variances = model.posterior(x[None])
        for sample, best in enumerate(model.best):
            known = stats.norm(means[sample, 0], np.sqrt(variances[sample, 0]))
            integral, _ = integrate.quad(
                lambda f, best=best, known=known: (best - f) * known.pdf(f),
                best - 12 * known.std(),
                best,
                epsabs=0,
            )
            integrals.append(integral)
        found = acquisition.log_expected_improvement(model, x[None])
        assert found[0] == pytest.approx(np.log(np.mean(integrals)), rel=1e-6)


@pytest.mark.parametrize("below", [0.0, 3.0, 60.0])
def test_its_gradient(below: float) -> None:
    model = shifted(below)
    for x in np.random.default_rng(5).random((5, 3)):
        value, gradient = acquisition.log_expected_improvement_gradient(model, x)

        def at(point: np.ndarray) -> float:
            return acquisition.log_expected_improvement(model, point[None])[0]

        assert value == pytest.approx(at(x))
        step = 1e-6
        numeric = [
            (at(x + step * e) - at(x - step * e)) / (2 * step) for e in np.eye(3)
        ]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)
