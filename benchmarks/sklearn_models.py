"""Scikit-learn's usual models on small tables, each with what its users would give it."""

import time
import warnings
from collections.abc import Callable

import numpy as np
from fold_scores import Score
from numpy.typing import NDArray
from sklearn import ensemble, linear_model
from sklearn.base import BaseEstimator, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR


def measured(predictions: NDArray[np.floating], y: NDArray[np.generic]) -> tuple[float, ...]:
    """Return accuracy and log-loss of probabilities (N, C), or RMSE of values (N, 1)."""
    if y.ndim == 2:
        return (float(np.sqrt(np.mean((predictions - y) ** 2))),)
    predictions = predictions.astype(np.float64)
    predictions /= predictions.sum(1, keepdims=True)
    right = float((predictions.argmax(1) == y).mean())
    return right, float(log_loss(y, predictions, labels=range(predictions.shape[1])))


def theirs(name: str, task: str) -> dict[str, Callable[[], BaseEstimator]]:
    """Return scikit-learn's models by name."""

    def scaled(model: BaseEstimator) -> BaseEstimator:
        return make_pipeline("passthrough" if name == "digits" else StandardScaler(), model)

    if task == "regression":
        five = [
            ("ridge", scaled(linear_model.RidgeCV(np.logspace(-2, 3, 26)))),
            ("svm", scaled(SVR(C=30))),
            ("forest", ensemble.RandomForestRegressor(300, random_state=0)),
            ("trees", ensemble.ExtraTreesRegressor(300, random_state=0)),
            ("boosting", ensemble.HistGradientBoostingRegressor(random_state=0)),
        ]
        mlp = scaled(
            MLPRegressor(hidden_layer_sizes=(64,), alpha=1.0, max_iter=1000, random_state=0)
        )
        ada = ensemble.AdaBoostRegressor(n_estimators=100, random_state=0)
        stack = ensemble.StackingRegressor(five)
    else:
        logistic = linear_model.LogisticRegressionCV(
            Cs=[0.01, 0.1, 1, 10],
            l1_ratios=(0,),
            cv=3,
            max_iter=1000,
            scoring="neg_log_loss",
            use_legacy_attributes=False,
        )
        five = [
            ("logistic", scaled(logistic)),
            ("svm", scaled(CalibratedClassifierCV(SVC(C=10), ensemble=False))),
            ("forest", ensemble.RandomForestClassifier(500, random_state=0)),
            ("trees", ensemble.ExtraTreesClassifier(500, random_state=0)),
            ("boosting", ensemble.HistGradientBoostingClassifier(random_state=0)),
        ]
        mlp = scaled(MLPClassifier((64,), max_iter=1000, random_state=0))
        ada = ensemble.AdaBoostClassifier(n_estimators=100, random_state=0)
        stack = ensemble.StackingClassifier(five)
    names = ["logistic / ridge", "SVM (RBF)", "random forest", "extra trees", "hist. boosting"]
    models = dict(zip(names, (model for _, model in five), strict=True))
    models |= {"MLP": mlp, "AdaBoost": ada, "stack of five": stack}
    return {key: lambda m=model: m for key, model in models.items()}


def their_score(
    model: BaseEstimator,
    x: NDArray[np.float64],
    y: NDArray[np.generic],
    known: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Score:
    """Fit a model of scikit-learn and measure it."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that did not quite converge
        model.fit(x[known], y[known].ravel())
    seconds = time.process_time() - start
    if is_classifier(model):
        return Score(measured(model.predict_proba(x[test]), y[test]), seconds)
    return Score(measured(model.predict(x[test]).reshape(-1, 1), y[test]), seconds)
