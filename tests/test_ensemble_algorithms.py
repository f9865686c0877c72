"""The algorithms of ensembles, against scikit-learn, SciPy and hand formulas."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from modelscale.ensembling import bootstrap, diversity, folds, gradients, meta_learners, samme
from modelscale.ensembling.answers import Answers
from modelscale.ensembling.methods.base import EnsembleSpec
from modelscale.ensembling.selection import select
from modelscale.ensembling.temperature import PRIOR_DEVIATION, fit_temperature
from modelscale.errors import DataError
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.training.combination import Votes


def shares(K, N, C, seed=0, skill=1.5):
    """Return targets (N,) and log-probabilities (K, N, C) that fit them somewhat."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(C, (N,), generator=g)
    logits = torch.randn(K, N, C, generator=g, dtype=torch.float64) + skill * torch.eye(C)[y]
    return y, logits.log_softmax(-1)


class TestSamme:
    @pytest.mark.parametrize("rate", [1.0, 0.3])
    @pytest.mark.parametrize("classes", [2, 3, 4])
    def test_weights_are_those_of_scikit_learn_at_every_round(self, classes, rate):
        x, y = make_classification(
            300, 8, n_informative=6, n_classes=classes, random_state=1, flip_y=0.1
        )
        rounds = 12
        seen = []

        class Watched(DecisionTreeClassifier):
            def fit(self, x, y, sample_weight=None):
                seen.append(np.array(sample_weight))
                return super().fit(x, y, sample_weight=sample_weight)

        theirs = AdaBoostClassifier(
            Watched(max_depth=1, random_state=0),
            n_estimators=rounds,
            learning_rate=rate,
            random_state=0,
        ).fit(x, y)
        weight = samme.equal_weights(len(y))
        for number, weak in enumerate(theirs.estimators_):
            np.testing.assert_allclose(seen[number], weight, rtol=1e-12)
            found = samme.boost(weight, weak.predict(x) != y, classes, rate)
            assert found.vote == pytest.approx(theirs.estimator_weights_[number], rel=1e-12)
            assert found.error == pytest.approx(theirs.estimator_errors_[number], rel=1e-12)
            weight = found.weight_N
        votes = theirs.estimator_weights_
        answers = torch.tensor(np.stack([e.predict_proba(x) for e in theirs.estimators_])).log()
        combination = Votes("classification", torch.tensor(votes / votes.sum()))
        ours = combination(answers.float()).softmax(-1)
        np.testing.assert_allclose(ours, theirs.predict_proba(x), atol=2e-6)

    def test_perfect_learner_ends_it_and_a_useless_one_is_left_out(self):
        weight = samme.equal_weights(4)
        perfect = samme.boost(weight, np.zeros(4, bool), 2)
        assert (perfect.vote, perfect.goes_on) == (1.0, False)
        assert samme.boost(weight, np.array([True, True, False, False]), 2) is None
        assert samme.boost(weight, np.array([True, True, False, False]), 3) is not None


class TestGradients:
    def test_residuals_are_the_negative_gradient_of_the_loss(self):
        y, _ = shares(1, 20, 3)
        values = torch.randn(20, 3, dtype=torch.float64).requires_grad_()
        loss = torch.nn.functional.cross_entropy(values, y, reduction="sum")
        (slope,) = torch.autograd.grad(loss, values)
        found = gradients.residuals(values.detach(), y, "classification")
        torch.testing.assert_close(found, -slope)

    @pytest.mark.parametrize("task", ["classification", "regression"])
    def test_step_is_where_scipy_finds_the_minimum(self, task):
        g = torch.Generator().manual_seed(3)
        values = torch.randn(50, 3, generator=g, dtype=torch.float64)
        y, _ = shares(1, 50, 3)
        targets = y if task == "classification" else torch.randn(50, 3, generator=g)
        direction = gradients.residuals(values, targets, task)
        direction = direction + 0.3 * torch.randn(50, 3, generator=g)
        step = gradients.best_step(values, direction, targets, task)
        theirs = minimize_scalar(
            lambda s: gradients.loss_of(values + s * direction, targets, task),
            bounds=(0, 50),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert step == pytest.approx(theirs.x, abs=1e-4)

    def test_direction_that_only_hurts_is_not_taken(self):
        y, _ = shares(1, 30, 3)
        values = torch.zeros(30, 3, dtype=torch.float64)
        wrong = -gradients.residuals(values, y, "classification")
        assert gradients.best_step(values, wrong, y, "classification") == 0

    def test_start_is_the_constant_with_the_smallest_loss(self):
        y = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
        start = gradients.start_values(y, 3).softmax(0)
        torch.testing.assert_close(
            start, torch.tensor([0.5, 0.3, 0.2]).double(), atol=0.01, rtol=0
        )
        values = torch.tensor([[1.0], [3.0]])
        assert gradients.start_values(values, None).tolist() == [2.0]


def accuracy_of(y):
    def score(predictions):
        return (predictions.argmax(-1) == y).double().mean(-1, keepdim=True)

    return score


def likelihood_of(y):
    def score(predictions):
        true = predictions.gather(-1, y.expand(predictions.shape[:-1])[..., None])
        return true.log().mean(-2)

    return score


class TestSelection:
    def test_never_worse_than_the_best_candidate_where_it_is_judged(self):
        y, answers = shares(6, 80, 3)
        score = accuracy_of(y)
        found = select(answers.exp(), score, 20)
        weights = torch.tensor(found.weights, dtype=torch.float64)
        mean = (answers.exp() * weights[:, None, None]).sum(0)
        assert score(mean[None])[0] == pytest.approx(found.scores[-1])
        assert found.scores[-1] >= float(score(answers.exp()).max())
        assert sum(found.weights) == pytest.approx(1)

    def test_begins_with_as_many_of_the_best_as_are_best_together(self):
        y, answers = shares(5, 40, 3, seed=2)
        p = answers.exp()
        found = select(p, likelihood_of(y), 12)
        ranked = likelihood_of(y)(p)[:, 0].argsort(descending=True).tolist()
        together = [float(likelihood_of(y)(p[ranked[: n + 1]].mean(0))) for n in range(5)]
        start = together.index(max(together)) + 1
        assert list(found.order[:start]) == ranked[:start]
        assert found.scores[:start] == pytest.approx(together[:start])

    def test_each_choice_after_the_start_is_the_best_of_all_that_there_were(self):
        y, answers = shares(5, 40, 3, seed=2)
        score, p = likelihood_of(y), answers.exp()
        found = select(p, score, 12)
        assert len(set(found.order)) < len(found.order)  # with replacement
        start = len(set(found.order))
        for step in range(start, len(found.order)):
            earlier = p[list(found.order[:step])].sum(0)
            every = [float(score((earlier + p[m]) / (step + 1))) for m in range(5)]
            assert found.order[step] == every.index(max(every))

    def test_candidates_that_are_all_right_are_told_apart_by_their_likelihood(self):
        y = torch.arange(30) % 3
        sure = torch.tensor([0.5, 0.9, 0.7])[:, None, None]
        p = torch.eye(3)[y].expand(3, 30, 3) * sure + (1 - sure) / 3
        answers = Answers(
            "classification", p.double().log(), y, MetricSpec.model_validate("accuracy"), 0
        )
        assert select(answers.plain(), answers.scores, 20).weights == (0, 1, 0)

    def test_bags_give_a_candidate_the_weight_that_it_has_in_halves(self):
        """A candidate that is all that matters wherever it is, is in half of the halves."""
        y, answers = shares(8, 90, 3)
        p = answers.exp()
        p[3] = torch.eye(3)[y] * 0.999 + 0.001 / 3
        found = select(p, likelihood_of(y), 20, bags=400)
        assert sum(found.weights) == pytest.approx(1)
        assert found.weights[3] == pytest.approx(0.5, abs=0.1)
        assert found.order[0] == 3
        assert found == select(p, likelihood_of(y), 20, bags=400)
        assert found != select(p, likelihood_of(y), 20, bags=400, seed=1)

    def test_kind_keeps_only_who_is_chosen(self):
        y, answers = shares(4, 60, 3)
        answers[2] = torch.full_like(answers[2], -1).log_softmax(-1)  # knows nothing
        spec = EnsembleSpec.model_validate({"kind": "greedy", "metric": "accuracy"})
        metric = MetricSpec.model_validate("accuracy")
        made = spec.combine(Answers("classification", answers, y, metric, 0))
        assert 2 not in made.kept
        assert len(made.combination.weight_M) == len(made.kept)


class TestMetaLearners:
    @pytest.mark.parametrize("l2", [1.0, 0.01, 1e-4])
    def test_logistic_is_that_of_scikit_learn(self, l2):
        x, y = load_iris(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = LogisticRegression(C=1 / (len(y) * l2), tol=1e-10, max_iter=100_000).fit(
                x, y
            )
        zero = torch.zeros(3, 4)
        ours = meta_learners.logistic(torch.tensor(x), torch.tensor(y), l2, zero)
        np.testing.assert_allclose(
            ours(torch.tensor(x)).softmax(1), theirs.predict_proba(x), atol=2e-4
        )

    def test_ridge_is_that_of_scikit_learn(self):
        g = np.random.default_rng(0)
        x, y = g.normal(size=(60, 5)), g.normal(size=(60, 2))
        theirs = Ridge(alpha=60 * 0.1).fit(x, y)
        ours = meta_learners.ridge(torch.tensor(x), torch.tensor(y), 0.1, torch.zeros(2, 5))
        np.testing.assert_allclose(ours.weight_AF, theirs.coef_, rtol=1e-8)
        np.testing.assert_allclose(ours.bias_A, theirs.intercept_, rtol=1e-8)

    def test_strong_penalty_leaves_the_plain_mean(self):
        y, answers = shares(4, 50, 3)
        centred = answers - answers.mean(-1, keepdim=True)
        x = centred.transpose(0, 1).flatten(1)
        prior = meta_learners.mean_weights(4, 3)
        fit = meta_learners.logistic(x, y, 1e6, prior)
        torch.testing.assert_close(fit.weight_AF, prior, atol=1e-5, rtol=0)
        torch.testing.assert_close(x @ prior.T, centred.mean(0))

    @pytest.mark.parametrize("meta", ["logistic", "network"])
    def test_learner_finds_out_who_is_to_be_trusted(self, meta):
        y, answers = shares(3, 300, 3, skill=0.0)
        _, good = shares(1, 300, 3, skill=4.0)
        answers[1] = good[0]
        spec = EnsembleSpec.model_validate({"kind": "stacking", "meta": meta})
        made = spec.combine(Answers("classification", answers, y, None, 0))
        right = (made.held_out.argmax(-1) == y).double().mean()
        assert right >= (good[0].argmax(-1) == y).double().mean() - 0.02
        assert right > (answers.exp().mean(0).argmax(-1) == y).double().mean() + 0.02

    def test_held_out_answers_do_not_see_their_own_targets(self):
        """Leakage planted in the meta-learner: noise must not look predictable."""
        g = torch.Generator().manual_seed(0)
        answers = torch.randn(20, 60, 2, generator=g, dtype=torch.float64).log_softmax(-1)
        y = torch.randint(2, (60,), generator=g)
        x = (answers - answers.mean(-1, keepdim=True)).transpose(0, 1).flatten(1)
        seen = meta_learners.logistic(x, y, 1e-4, torch.zeros(2, 40))
        assert (seen(x).argmax(1) == y).double().mean() > 0.7  # in its own rows it shines
        spec = EnsembleSpec.model_validate("stacking")
        made = spec.combine(Answers("classification", answers, y, None, 0))
        loss = torch.nn.functional.cross_entropy(made.held_out, y)
        assert loss > 0.65  # of log 2 = 0.693 that chance has


class TestTemperature:
    @pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
    def test_value_is_where_scipy_finds_the_minimum(self, factor):
        y, answers = shares(1, 200, 4)
        logits = factor * answers[0]

        def loss(t):
            return 200 * float(torch.nn.functional.cross_entropy(logits / t, y))

        theirs = minimize_scalar(
            lambda u: loss(np.exp(u)) + u**2 / (2 * PRIOR_DEVIATION**2),
            bounds=(-4, 4),
            method="bounded",
            options={"xatol": 1e-9},
        )
        found = fit_temperature(logits, y)
        assert found.value == pytest.approx(np.exp(theirs.x), rel=1e-4)
        assert found.gain == pytest.approx(max(0, loss(1) - loss(found.value)), abs=1e-6)

    def test_few_right_answers_do_not_make_it_boundlessly_sure(self):
        y = torch.arange(12) % 3
        found = fit_temperature(2 * torch.eye(3, dtype=torch.float64)[y], y)
        assert 0.3 < found.value < 1

    def test_calibrated_answers_are_left_alone_in_nineteen_of_twenty_cases(self):
        sure = 0
        for seed in range(200):
            g = torch.Generator().manual_seed(seed)
            logits = 2 * torch.randn(100, 3, generator=g, dtype=torch.float64)
            y = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
            sure += fit_temperature(logits, y).is_sure
        assert 2 <= sure <= 20  # 10 expected


class TestBootstrap:
    def test_out_of_bag_mean_is_of_those_who_never_saw_the_row(self):
        g = torch.Generator().manual_seed(0)
        answers = torch.rand(5, 30, 2, generator=g)
        counts = torch.stack([bootstrap.bootstrap_counts(k, 30) for k in range(5)])
        assert counts.sum(1).tolist() == [30] * 5
        mean, known = bootstrap.out_of_bag_mean(answers, counts)
        for row in range(30):
            unseen = [k for k in range(5) if counts[k, row] == 0]
            assert bool(known[row]) == bool(unseen)
            if unseen:
                torch.testing.assert_close(mean[row], answers[unseen, row].mean(0))


class TestFolds:
    def test_every_row_is_held_once_and_all_folds_learn_equally_many(self):
        rows = torch.arange(5, 108)
        classes = torch.arange(200) % 3
        found = folds.inner_folds(rows, classes, 5, seed=0)
        held = torch.cat([fold.held for fold in found])
        assert len(held) == len(held.unique()) == 100
        assert {len(fold.learnt) for fold in found} == {83}
        for fold in found:
            assert not set(fold.learnt.tolist()) & set(fold.held.tolist())
            counts = classes[fold.held].bincount(minlength=3)
            assert counts.max() - counts.min() <= 2

    def test_answers_of_a_model_that_saw_the_rows_are_refused(self):
        folds.check_unseen("a", torch.arange(10), [torch.arange(10, 20)])
        with pytest.raises(DataError, match="learnt from 3 of the 10 rows"):
            folds.check_unseen("a", torch.arange(10), [torch.arange(7, 20)])


class TestDiversity:
    def test_numbers_are_those_of_numpy_over_all_pairs(self):
        y, answers = shares(4, 100, 3)
        found = diversity.of_classes(answers.exp(), y)
        chosen = answers.argmax(-1).numpy()
        wrong = (chosen != y.numpy()).astype(float)
        pairs = [(a, b) for a in range(4) for b in range(a)]
        apart = np.mean([(chosen[a] != chosen[b]).mean() for a, b in pairs])
        alike = np.mean([np.corrcoef(wrong[a], wrong[b])[0, 1] for a, b in pairs])
        assert found.disagreement == pytest.approx(apart)
        assert found.error_correlation == pytest.approx(alike)

    def test_ambiguity_is_what_averaging_gains(self):
        g = torch.Generator().manual_seed(0)
        values, targets = torch.randn(5, 50, 2, generator=g), torch.randn(50, 2, generator=g)
        found = diversity.of_values(values, targets)
        mean = values.double().mean(0)
        spread = (values.double() - mean).square().mean()
        assert found.ambiguity == pytest.approx(float(spread))  # Krogh and Vedelsby
        of_classes = diversity.of_classes(*reversed(_same()))
        assert of_classes.ambiguity == pytest.approx(0, abs=1e-12)
        assert of_classes.disagreement == 0


def _same():
    y, answers = shares(1, 40, 3)
    return y, answers.exp().expand(3, -1, -1)
