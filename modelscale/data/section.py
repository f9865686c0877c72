"""The `data` section of a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelscale.data.audio_section import AudioSection, TranscriptSection
from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.interactions import InteractionsSection
from modelscale.data.sources.base import SourceSpec
from modelscale.data.splits.base import SplitSpec
from modelscale.data.text_section import TextSection, TranslationSection
from modelscale.spec.base import Spec

ColumnRole = Literal["numeric", "category", "text", "ignore"]


class DataSection(Spec):
    """What to learn from."""

    source: SourceSpec
    """Where examples come from: a name of the catalogue, or `{kind: csv, path: …}`."""

    split: SplitSpec = Field(default_factory=lambda: SplitSpec.model_validate({}))
    """How rows are divided into train, validation and test parts."""

    columns: dict[str, ColumnRole] = Field(default_factory=dict)
    """Roles of table columns where the inferred ones are wrong."""

    positive: str | None = None
    """Of two classes the one that is to be found, such as fraud: it becomes the second class,
    which precision, recall, thresholds and costs are about. By default the last by name."""

    interactions: InteractionsSection | None = None
    """Which columns are users and items, for recommenders."""

    text: TextSection | None = None
    """How texts become symbols; by default their words."""

    translation: TranslationSection | None = None
    """How what is written becomes symbols, for `task: translation`."""

    audio: AudioSection | None = None
    """How recordings become spectra; by default 40 bands, 25 ms windows every 10 ms."""

    transcript: TranscriptSection | None = None
    """How what is said becomes symbols, for `task: transcription`; by default characters."""

    standardize: bool = True
    """Whether numeric inputs are scaled to mean 0 and deviation 1 of the training part."""

    target_transform: Literal["auto", "none", "standardize", "log"] = "auto"
    """How regression targets are transformed for training; `auto` standardises them."""

    augment: tuple[AugmentationSpec, ...] = ()
    """Random changes to training images, texts or recordings, in this order."""

    storage: Literal["auto", "memory", "disk"] = "auto"
    """Where examples are; `auto` is in memory if they fit in a quarter of what is free."""

    def roles(self) -> dict[str, str]:
        """Return the declared roles; users and items are categories."""
        pair = self.interactions
        known = {} if pair is None else dict.fromkeys((pair.user, pair.item), "category")
        return {**known, **self.columns}
