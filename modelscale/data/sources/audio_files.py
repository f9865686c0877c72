"""Recordings whose names say what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from modelscale.data.reading import Reading, file_bytes
from modelscale.data.sources._sounds import SoundSource
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class AudioFilesSource(SoundSource):
    """Recordings in folders, `.tar.gz` or `.zip` archives, described by their names."""

    path: tuple[Path, ...] = Field(min_length=1)
    """Folders (read at any depth), archives or single recordings, in this order."""

    pattern: str = "{name}"
    """How files are named, with fields in braces: `{digit}_{speaker}_{number}.wav`. With a
    slash it is of the whole path below the folder: `{speaker}/{word}-{number}.wav`."""

    target: str | None = None
    """Field to learn: a class, or what is said; none to predict only."""

    group: str | None = None
    """Field whose equal values stay in one part, for `split: group`."""

    test: dict[str, tuple[str | int, ...]] = Field(default_factory=dict)
    """Values of fields that make a recording one of the test part, for `split: column`."""

    validation: dict[str, tuple[str | int, ...]] = Field(default_factory=dict)
    """Values of fields that make a recording one of the validation part, likewise."""

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str) -> str:
        from modelscale.data.named_files import NamePattern

        NamePattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _fields_exist(self) -> Self:
        from modelscale.data.named_files import NamePattern

        fields = NamePattern(self.pattern).fields
        wanted = [("target", self.target), ("group", self.group)]
        wanted += [
            (key, field) for key in ("test", "validation") for field in getattr(self, key)
        ]
        for key, field in wanted:
            if field is not None and field not in fields:
                have = ", ".join(f"{{{name}}}" for name in fields) or "none"
                raise clash(
                    f"the pattern has no field {{{field}}} (it has {have})", key, "pattern"
                )
        return self

    def estimated_bytes(self) -> int:
        files = [f for p in self.path for f in (p.rglob("*") if p.is_dir() else [p])]
        return 3 * sum(map(file_bytes, files))

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.sounds import NameRoles, read_named

        roles = NameRoles(self.pattern, self.target, self.group, self.test, self.validation)
        return read_named(self.path, roles, self.options(), how or Reading())
