"""Data sets of the catalogue, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.reading import Reading


class CatalogueSource(SourceSpec):
    """A published data set; `modelscale data ls` lists them, `data fetch NAME` gets one."""

    name: Literal[
        "acsf1",
        "basic_motions",
        "bbc_news",
        "breast_cancer",
        "diabetes",
        "digits",
        "german_credit",
        "gun_point",
        "heart_disease",
        "heart_failure",
        "iris",
        "italy_power_demand",
        "japanese_vowels",
        "mnist_5k",
        "movielens_100k",
        "movielens_100k_features",
        "reuters_r8",
        "shuttle",
        "wine",
    ]
    """Which one."""

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.catalogue import read

        return read(self.name, how)
