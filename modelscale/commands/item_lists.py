"""`modelscale predict --top-k`: the best items for the users of a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.commands.trained_model import TrainedModel, shown
from modelscale.errors import DataError, UsageError
from modelscale.runs.atomic import write_file

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.own_data import OwnData
    from modelscale.data.interactions import InteractionsSection
    from modelscale.data.item_table import ItemTable
    from modelscale.data.raw import Raw

SCORES_AT_ONCE = 262_144


class Listed(NamedTuple):
    """A place of a user's list: place from 1, and the score in the data's units."""

    user: str
    place: int
    item: str
    score: float


@dataclass(frozen=True)
class _Catalogue:
    """All items of a run's data, and who has had which."""

    table: ItemTable
    items: tuple[str, ...]
    users: dict[str, int]
    known: Tensor


def recommend(
    trained: TrainedModel, data: str, k: int, output: Path | None, put: Callable[[str], None]
) -> dict[str, Any]:
    """Write the k best items for each user of a file, without those that the user has had.

    Args:
        trained: A model of interactions; its run's data says which items there are.
        data: A file with the user's column, and the other columns that describe the user.
        k: Length of a list.
        output: A `.csv` or `.jsonl` file; None for `put`.
        put: Takes the lines of a CSV file.

    Raises:
        UsageError: If the model is not of interactions.
        DataError: If the file lacks a column.
    """
    section = _section(trained)
    if output is not None and output.suffix.lower() not in (".csv", ".jsonl"):
        raise UsageError(f"--output {output}: lists are written as .csv or .jsonl")
    from modelscale.commands.own_data import read_own

    own = read_own(trained, accept_change=False)
    catalogue = _catalogue(trained, own, section)
    raw = _users(trained, data, own.raw, section)
    lists = list(_lists(trained, catalogue, raw, section, k))
    names = (section.user, "place", section.item, "score")
    if output is None:
        put(_csv(names, lists).removesuffix("\n"))
    else:
        text = _csv(names, lists) if output.suffix.lower() == ".csv" else _jsonl(names, lists)
        write_file(output, text.encode())
    return {
        **trained.facts(),
        "data": {"origin": raw.origin, "fingerprint": raw.fingerprint, "rows": len(raw)},
        "output": None if output is None else shown(output),
        "columns": list(names),
        "items": len(catalogue.items),
    }


def _section(trained: TrainedModel) -> InteractionsSection:
    experiment = trained.experiment
    section = None if experiment is None else experiment.data.interactions
    if section is None:
        raise UsageError("--top-k: needs a run whose spec has data.interactions")
    if trained.model.targets > (2 if trained.model.task == "classification" else 1):
        raise UsageError("--top-k: needs one target value, or two classes")
    if not trained.model.inputs.of_item:
        kind = trained.model.spec.own_kind()
        raise UsageError(f"--top-k: {kind} takes categories as 0/1 inputs; use another model")
    return section


def _catalogue(trained: TrainedModel, own: OwnData, section: InteractionsSection) -> _Catalogue:
    import torch

    from modelscale.data.item_table import item_table
    from modelscale.data.storage import transform

    model, raw = trained.model, own.raw
    x = transform(model.preprocessing, raw, torch.device("cpu"))
    table = item_table(raw, section, x, model.inputs, own.parts)
    known = table.pairs(torch.arange(len(raw))).unique()
    users = {word: code for code, word in enumerate(_words(raw, section.user))}
    return _Catalogue(table, _words(raw, section.item), users, known)


def _words(raw: Raw, name: str) -> tuple[str, ...]:
    """Return the users or items that occur, in the order of their numbers."""
    import numpy as np

    from modelscale.data.encoding import category_cells

    words, code_N = category_cells(raw.columns[name], slice(0, len(raw)))
    return tuple(words[code] for code in np.unique(code_N).tolist())


def _users(trained: TrainedModel, data: str, own: Raw, section: InteractionsSection) -> Raw:
    """Return one row for each user of a file, with any item beside it."""
    import numpy as np

    from modelscale.commands.own_data import rows_of
    from modelscale.data.interactions import with_features
    from modelscale.data.opening import source_of
    from modelscale.data.reading import Reading

    preprocessing = trained.model.preprocessing
    wanted = [name for name in preprocessing.columns if name not in preprocessing.item_columns]
    category = {column.name for column in preprocessing.categories}
    roles = {name: "category" if name in category else "numeric" for name in wanted}
    roles[section.user] = "category"
    assert trained.experiment is not None
    raw = source_of(Path(data)).read(Reading(roles=roles, only=True))
    if section.user not in raw.columns:
        raise DataError(f"{data}: has no column '{section.user}'")
    first = np.unique(_cells(raw, section.user), return_index=True)[1]
    raw = rows_of(raw, np.sort(first))
    if section.users is not None:
        own_columns = {section.user: raw.columns[section.user]}
        raw = with_features(replace(raw, columns=own_columns), section.user, section.users, {})
    if missing := [name for name in wanted if name not in raw.columns]:
        raise DataError(f"{data}: has no column '{missing[0]}', which describes the user")
    beside = rows_of(own, np.zeros(len(raw), dtype=np.int64))
    items = {name: beside.columns[name] for name in preprocessing.item_columns}
    return replace(raw, columns={**raw.columns, **items})


def _cells(raw: Raw, name: str) -> Any:
    import numpy as np

    from modelscale.data.raw import Texts

    cells = raw.columns[name]
    return np.asarray(cells.codes_N if isinstance(cells, Texts) else cells)


def _lists(
    trained: TrainedModel, catalogue: _Catalogue, raw: Raw, section: InteractionsSection, k: int
) -> Iterator[Listed]:
    import torch

    from modelscale.data.encoding import category_cells

    model, table = trained.model, catalogue.table
    words, word_U = category_cells(raw.columns[section.user], slice(0, len(raw)))
    with torch.no_grad():
        x_UD = model.preprocessing.module()(torch.from_numpy(model.preprocessing.encode(raw)))
    items = len(catalogue.items)
    every_I = torch.arange(items)
    step = max(1, SCORES_AT_ONCE // items)
    for start in range(0, len(raw), step):
        x_UI = table.of(x_UD[start : start + step], every_I)
        x = x_UI.flatten(0, 1).to(trained.device)
        score_UI = model.predictions(x)[:, -1].cpu().view(-1, items)
        for offset, score_I in enumerate(score_UI):
            user = words[word_U[start + offset]]
            number = catalogue.users.get(user)
            if number is not None:
                had_I = torch.isin(number * items + every_I, catalogue.known)
                score_I = score_I.masked_fill(had_I, -torch.inf)
            best = score_I.sort(descending=True, stable=True)
            pairs = zip(best.indices[:k].tolist(), best.values[:k].tolist(), strict=True)
            for place, (item, score) in enumerate(pairs, 1):
                if score > -float("inf"):
                    yield Listed(user, place, catalogue.items[item], score)


def _csv(names: tuple[str, ...], lists: list[Listed]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([*entry[:3], f"{entry.score:.6g}"] for entry in lists)
    return text.getvalue()


def _jsonl(names: tuple[str, ...], lists: list[Listed]) -> str:
    rows = (dict(zip(names, entry, strict=True)) for entry in lists)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
