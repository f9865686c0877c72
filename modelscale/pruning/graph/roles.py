"""What becomes of the parts that views split a dimension into, learnt by a probe."""

from __future__ import annotations

from typing import Literal

import numpy as np

from modelscale.pruning.graph.atoms import Axis, Ids
from modelscale.pruning.graph.flow import Choice, Flow, Kind, Role

AttentionCut = Literal["heads", "head_size"]


class Roles:
    """What products of two activations do with the parts of each split.

    In attention a part that the products run over side by side are the heads; what they sum
    over, or keep, is within a head.
    """

    def __init__(self, probe: Flow) -> None:
        """Read what a finished probe has noted."""
        self._probe = probe
        self._of_root: dict[int, set[Role]] = {}
        for ids, role in probe.roles:
            self._add(ids, {role})
        # What becomes of a part of a part becomes of the whole as well.
        for whole, part in reversed(probe.origins):
            self._add(whole, self._of(part))

    def of(self, choice: Choice, part: int) -> set[Role]:
        """Return the roles of one part of a split."""
        parts = self._probe.splits.get(choice, [])
        axis: Axis = parts[part] if parts else None
        return set() if axis is None else self._of(axis)

    def kind(self, choice: Choice, part: int) -> Kind:
        """Return what the positions of a part are to people."""
        roles = self.of(choice, part)
        return "channels" if not roles else "heads" if "batch" in roles else "head_size"

    def preferences(self, attention: AttentionCut) -> dict[Choice, list[int]]:
        """Return for each split its parts, beginning with the one that should stay free.

        In attention that is the heads, or what is within a head; elsewhere the longest part.
        What is frozen, such as a network's outputs, comes last.
        """
        frozen = {
            root
            for ids, _ in self._probe.frozen
            for root in np.unique(self._probe.atoms.roots(ids)).tolist()
        }
        wanted: dict[Choice, list[int]] = {}
        for choice, parts in self._probe.splits.items():
            ranked = [
                (self._touches(part, frozen), self.kind(choice, d) != attention, -len(part), d)
                for d, part in enumerate(parts)
                if part is not None
            ]
            wanted[choice] = [rank[-1] for rank in sorted(ranked)]
        return wanted

    def _touches(self, ids: Ids, roots: set[int]) -> bool:
        return not roots.isdisjoint(np.unique(self._probe.atoms.roots(ids)).tolist())

    def _of(self, ids: Ids) -> set[Role]:
        roots = np.unique(self._probe.atoms.roots(ids)).tolist()
        return {role for root in roots for role in self._of_root.get(root, set())}

    def _add(self, ids: Ids, roles: set[Role]) -> None:
        if roles:
            for root in np.unique(self._probe.atoms.roots(ids)).tolist():
                self._of_root.setdefault(root, set()).update(roles)
