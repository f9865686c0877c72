"""All items ranked for each user by a trained model, beside the most popular ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.commands.own_data import OwnData
    from modelscale.commands.trained_model import TrainedModel
    from modelscale.data.raw import Raw
    from modelscale.evaluation.ranking import Places
    from modelscale.evaluation.section import RankingSection
    from modelscale.tensors import Part

_HAD_BEFORE: dict[Part, tuple[Part, ...]] = {
    "train": (),
    "validation": ("train",),
    "test": ("train", "validation"),
}


def rankings(
    trained: TrainedModel,
    own_data: OwnData,
    part: Part,
    section: RankingSection,
    confidence: float,
) -> dict[str, Any]:
    """Return hit rate, NDCG and recall among the first k, over the users of a part.

    Each user's items of the part are ranked among all items of the data but those of the
    user's earlier parts. What the table says of an item goes with the item, everything else is
    taken from the user's first row of the part.

    Returns:
        `users` and `items` that were counted, and by measure `{"value", "low", "high"}` of the
        model (`model`) and of the most popular items of the training part (`popular`).

    Raises:
        UsageError: If the data has no such columns, or the model no single score.
    """
    import numpy as np
    import torch

    from modelscale.evaluation.ranking import ranks_of

    raw, parts = own_data.raw, own_data.parts
    user_N, users = _codes(raw, section.user)
    item_N, items = _codes(raw, section.item)
    if trained.model.targets > (2 if trained.model.task == "classification" else 1):
        raise UsageError("evaluate.ranking: needs one target value, or two classes")
    counts = np.bincount(item_N[parts["train"].numpy()], minlength=items)
    popular_I = torch.from_numpy(counts).double()
    scorer = _Scorer(trained, raw, item_N, items)
    relevant_N = _relevant(trained, raw, section)
    rows = parts[part].numpy()
    earlier = np.concatenate([parts[p].numpy() for p in _HAD_BEFORE[part]] or [rows[:0]])
    had = _rows_by_user(earlier, user_N, users)
    places: dict[str, list[Places]] = {"model": [], "popular": []}
    for user, own in enumerate(_rows_by_user(rows, user_N, users)):
        wanted = own[relevant_N[own]]
        if len(wanted) == 0:
            continue
        relevant_I, excluded_I = _flags(item_N[wanted], items), _flags(item_N[had[user]], items)
        for name, score_I in (("model", scorer.scores(own[0])), ("popular", popular_I)):
            places[name].append(ranks_of(score_I, relevant_I, excluded_I))
    counted = sum(bool(found) for found in places["model"])
    return {
        "users": counted,
        "items": items,
        **{name: _measures(found, section, confidence) for name, found in places.items()},
    }


class _Scorer:
    """Scores all items for a user."""

    def __init__(
        self, trained: TrainedModel, raw: Raw, item_N: NDArray[np.int64], items: int
    ) -> None:
        import numpy as np

        preprocessing = trained.model.preprocessing
        self.trained = trained
        self.module = preprocessing.module()
        self.encoded_ND = preprocessing.encode(raw)
        first_I = np.full(items, -1)
        first_I[item_N[::-1]] = np.arange(len(item_N))[::-1]
        self.item_ID = self.encoded_ND[first_I]
        same_ND = np.equal(self.encoded_ND, self.item_ID[item_N])
        same_ND |= np.isnan(self.encoded_ND) & np.isnan(self.item_ID[item_N])
        self.of_item_D = same_ND.all(axis=0)

    def scores(self, row: int) -> Tensor:
        """Return (items,) scores for the user of a row."""
        import numpy as np
        import torch

        rows_ID = np.where(self.of_item_D, self.item_ID, self.encoded_ND[row])
        with torch.no_grad():
            x = self.module(torch.from_numpy(rows_ID)).to(self.trained.device)
        return self.trained.model.predictions(x)[:, -1].cpu()


def _codes(raw: Raw, name: str) -> tuple[NDArray[np.int64], int]:
    """Return each row's code of a column and how many codes there are."""
    import numpy as np

    from modelscale.data.encoding import category_cells

    if name not in raw.columns:
        raise UsageError(f"evaluate.ranking: {raw.origin} has no column '{name}'")
    _, code_N = category_cells(raw.columns[name], slice(0, len(raw)))
    if (code_N < 0).any():
        row = int(np.argmax(code_N < 0)) + raw.first_row
        raise UsageError(f"evaluate.ranking: {raw.origin}: row {row}: '{name}' is missing")
    used, code_N = np.unique(code_N, return_inverse=True)
    return code_N, len(used)


def _relevant(trained: TrainedModel, raw: Raw, section: RankingSection) -> NDArray[np.bool_]:
    import numpy as np

    from modelscale.data.targets import class_codes, numbers

    if trained.model.task == "classification":
        if section.relevant is not None:
            raise UsageError("evaluate.ranking.relevant: with classes the second is relevant")
        relevant_N: NDArray[np.bool_] = (
            class_codes(raw, trained.model.preprocessing.labels) == 1
        )
    elif section.relevant is None:
        relevant_N = np.ones(len(raw), dtype=np.bool_)
    else:
        relevant_N = numbers(raw)[:, 0] >= section.relevant
    return relevant_N


def _rows_by_user(
    rows: NDArray[np.int64], user_N: NDArray[np.int64], users: int
) -> list[NDArray[np.int64]]:
    import numpy as np

    order = np.argsort(user_N[rows], kind="stable")
    ends = np.cumsum(np.bincount(user_N[rows], minlength=users))
    return np.split(rows[order], ends[:-1])


def _flags(codes: NDArray[np.int64], count: int) -> Tensor:
    import torch

    flags = torch.zeros(count, dtype=torch.bool)
    flags[torch.from_numpy(codes)] = True
    return flags


def _measures(
    places: list[Places], section: RankingSection, confidence: float
) -> dict[str, Any]:
    from modelscale.evaluation.decisions import mean_with_interval
    from modelscale.evaluation.ranking import scores_at

    found = {name: value for k in section.k for name, value in scores_at(places, k).items()}
    return {n: mean_with_interval(v, confidence).to_json() for n, v in found.items()}
