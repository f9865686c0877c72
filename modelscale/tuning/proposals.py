"""Proposals: what to try next, given all that came out so far.

A sampler is made anew for every batch, from the finished trials and seeds that follow from the
numbers of trials. So a search that was interrupted proposes what it would have proposed, and a
search of 100 trials that goes on to 200 is the search of 200.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelscale.seeds import derive
from modelscale.tuning.history import History
from modelscale.tuning.priors import believed
from modelscale.tuning.samplers.base import Asker, SamplerSpec
from modelscale.tuning.space import Params, point_word, points, size
from modelscale.tuning.unit_cube import random_point

TRIES = 4
"""How often a sampler is asked again when it repeats itself."""

MOST_LISTED = 10_000
"""Spaces of no more points are listed to find those that are left."""


def propose(
    sampler: SamplerSpec,
    history: History,
    count: int,
    queue: Sequence[Params] = (),
    pending: Sequence[Params] = (),
) -> list[Params]:
    """Return the next `count` trials' parameters; fewer if the space has no more points.

    A trial's parameters do not depend on `count`. A sampler that repeats an earlier point is
    asked again, and after that the trial is a random one; in a space of no more than
    `MOST_LISTED` points, a random one of those that are left. So a point comes twice only where
    `queue` asks for it, or by chance in a large finite space (`space.same_point` tells).

    Args:
        sampler: How to propose.
        history: What is searched, and what came out so far.
        count: Trials to propose at once.
        queue: What the first trials of the search have to be; the sampler fills in the rest.
        pending: All earlier trials that are in training, as far as proposals may know.

    Raises:
        Unavailable: If the sampler needs a package that is not installed.
    """
    asker, finished = sampler.begin(history), history.finished
    for number, params in enumerate(pending, len(finished)):
        asker.ask(number, 0, params)
    seen = {point_word(trial.params) for trial in finished} | set(map(point_word, pending))
    first = len(finished) + len(pending)
    proposals: list[Params] = []
    for number in range(first, first + count):
        fixed = queue[number] if number < len(queue) else {}
        point = _new_point(asker, history, number, fixed, seen)
        if point is None:
            break
        seen.add(point_word(point))
        proposals.append(point)
    return proposals


def _new_point(
    asker: Asker, history: History, number: int, fixed: Params, seen: set[str]
) -> Params | None:
    space, seed = history.space, history.seed
    # A repetition is no reason to try the same belief again: the sampler goes on without it.
    first = fixed or believed(space, seed, number)
    for attempt in range(TRIES):
        point = asker.ask(number, attempt, fixed if attempt else first)
        if point is None or point_word(point) not in seen:
            return point
    # What is put in place of a repetition is told to the sampler as given, so that the other
    # proposals of the batch keep away from it.
    total = size(space)
    if total is not None and total <= MOST_LISTED and not fixed:
        left = [other for other in points(space) if point_word(other) not in seen]
        if not left:
            return None
        return asker.ask(number, TRIES, left[derive(seed, "left", number) % len(left)])
    drawn = random_point(space, seed, number, TRIES, fixed)
    return asker.ask(number, TRIES, drawn)
