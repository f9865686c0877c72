"""Series in `.ts` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.reading import Reading, file_bytes
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class TsFileSource(SourceSpec):
    """A `.ts` file of series, each with a class or a number, as aeon and sktime write them."""

    path: Path
    """The file; a relative path starts at the working directory."""

    test_path: Path | None = None
    """A second file, which is the test part; needs `split: {kind: column, …}`."""

    length: int | None = Field(None, ge=1, le=65_536)
    """Steps that a network reads, by default those of the longest; others are padded."""

    def estimated_bytes(self) -> int:
        return 4 * sum(file_bytes(p) for p in (self.path, self.test_path) if p is not None)

    def read(self, how: Reading | None = None) -> Raw:
        import hashlib

        from modelscale.data.csv_file import TextLines, counted
        from modelscale.data.reading import open_regular
        from modelscale.data.ts_text import parse, raw_of

        parts, digests = [], []
        for path in [self.path, *([self.test_path] if self.test_path else [])]:
            with open_regular(path) as stream:
                lines = TextLines(path, stream)
                parts.append(parse(counted(lines), str(path)))
                digests.append(lines.sha.hexdigest())
        fingerprint = digests[0]
        if len(digests) > 1:
            fingerprint = hashlib.sha256("".join(digests).encode()).hexdigest()
        origin = " and ".join(part.origin for part in parts)
        return raw_of(parts, self.length, origin, fingerprint)
