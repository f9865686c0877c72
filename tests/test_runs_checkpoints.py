"""Checkpoints are whole and what they were, or not accepted."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from modelscale.errors import DataError, InputMissing
from modelscale.runs import atomic
from modelscale.runs.checkpoints import CheckpointStore, read_checkpoint

FILES = {
    "model.safetensors": bytes(range(256)) * 8,
    "model.json": b'{"kind": "mlp"}',
    "state.safetensors": random.Random(1).randbytes(3000),
    "state.json": b'{"step": 4}',
}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """Checkpoints of steps 2 and 4."""
    store = CheckpointStore(tmp_path / "checkpoints", owner=True)
    store.save(2, {**FILES, "state.json": b'{"step": 2}'})
    store.save(4, FILES)
    return store


def test_saved_checkpoint_reads_back_equal(store: CheckpointStore) -> None:
    found = store.newest_valid()
    assert found is not None
    assert found.step == 4
    assert dict(found.files) == FILES
    assert found.passed_over == ()


def test_no_checkpoints_at_all_is_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "checkpoints").newest_valid() is None


def _damage(path: Path, kind: str, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del data[rng.randrange(len(data)) :]
    elif kind == "zero":
        start = rng.randrange(len(data))
        data[start:] = bytes(len(data) - start)
    else:
        data += rng.randbytes(1 + rng.randrange(20))
    path.write_bytes(data)


@pytest.mark.parametrize("name", [*FILES, atomic.MANIFEST])
@pytest.mark.parametrize("kind", ["flip", "truncate", "zero", "append"])
def test_no_damage_is_loaded_silently(store: CheckpointStore, name: str, kind: str) -> None:
    rng = random.Random(f"{name} {kind}")
    path = store.path(4) / name
    intact = path.read_bytes()
    for _ in range(40):
        _damage(path, kind, rng)
        if path.read_bytes() == intact:  # zeroing zeros
            continue
        with pytest.raises(DataError, match=r"damaged|newer"):
            read_checkpoint(store.path(4))
        found = store.newest_valid()
        assert found is not None
        assert found.step == 2
        assert found.files["state.json"] == b'{"step": 2}'
        assert [damage.step for damage in found.passed_over] == [4]
        assert "step-000004" in str(found.passed_over[0])
        path.write_bytes(intact)


@pytest.mark.parametrize("name", [*FILES, atomic.MANIFEST])
def test_missing_file_is_damage(store: CheckpointStore, name: str) -> None:
    (store.path(4) / name).unlink()
    with pytest.raises(DataError, match="damaged"):
        read_checkpoint(store.path(4))


@pytest.mark.parametrize("name", ["extra.bin", "model.py", ".hidden"])
def test_extra_file_is_damage(store: CheckpointStore, name: str) -> None:
    (store.path(4) / name).write_text("x")
    with pytest.raises(DataError, match=f"{name} is not in the manifest"):
        read_checkpoint(store.path(4))


def test_link_in_place_of_a_file_is_not_followed(
    store: CheckpointStore, tmp_path: Path
) -> None:
    path = store.path(4) / "model.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="damaged"):
        read_checkpoint(store.path(4))


def test_file_that_changes_after_the_check_is_noticed_when_read(store: CheckpointStore) -> None:
    found = read_checkpoint(store.path(4))
    path = store.path(4) / "model.safetensors"
    path.write_bytes(bytes(len(FILES["model.safetensors"])))
    with pytest.raises(DataError, match="SHA-256"):
        found.files["model.safetensors"]


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "", "..", "x\0y", ".x"])
def test_manifest_with_path_names_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "step-000001"
    folder.mkdir()
    (folder / atomic.MANIFEST).write_bytes(atomic.manifest_bytes({name: b""}, {"step": 1}))
    with pytest.raises(DataError, match="not a plain file name"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "[" * 100_000, '{"checksum": 1}', "\xff", "1" * 5000]
)
def test_hostile_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / atomic.MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="damaged"):
        read_checkpoint(tmp_path)


def test_manifest_of_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    content = {"schema_version": 99, "step": 1, "files": {}}
    import hashlib

    checksum = hashlib.sha256(atomic.json_bytes(content)).hexdigest()
    (tmp_path / atomic.MANIFEST).write_text(json.dumps({**content, "checksum": checksum}))
    with pytest.raises(DataError, match="newer version"):
        read_checkpoint(tmp_path)


def test_all_checkpoints_damaged_is_never_a_fresh_start(store: CheckpointStore) -> None:
    for step in store.steps():
        (store.path(step) / "state.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="no valid checkpoint") as error:
        store.newest_valid()
    assert error.value.exit_code == 65


def test_checkpoint_without_the_required_file_is_passed_over_quietly(
    store: CheckpointStore,
) -> None:
    store.save(6, {"model.safetensors": b"x"})
    found = store.newest_valid()
    assert found is not None
    assert (found.step, found.passed_over) == (4, ())
    with pytest.raises(DataError, match=r"none of them holds other\.bin"):
        store.newest_valid(required=("other.bin",))


def test_save_repairs_a_damaged_checkpoint_of_the_same_step(store: CheckpointStore) -> None:
    (store.path(4) / "model.json").write_bytes(b"broken")
    store.save(4, FILES)
    assert dict(read_checkpoint(store.path(4)).files) == FILES


def test_prune_keeps_the_newest_the_linked_and_the_named(store: CheckpointStore) -> None:
    for step in (6, 8, 10, 1_000_002):
        store.save(step, FILES)
    store.point("best", 2)
    store.prune(keep={6})
    assert store.steps() == [2, 6, 10, 1_000_002]
    assert store.pointed("best") == 2


def test_damaged_checkpoints_do_not_count_as_the_newest_to_keep(
    store: CheckpointStore,
) -> None:
    store.save(6, FILES)
    (store.path(6) / "model.json").unlink()
    found = store.newest_valid()
    assert found is not None
    assert found.step == 4
    store.save(5, FILES)
    store.prune()
    assert store.steps() == [4, 5]


def test_leftovers_are_cleaned_by_the_owner_alone(store: CheckpointStore) -> None:
    part = store.folder / ".step-000006.part"
    part.mkdir()
    (part / "model.json").write_text("half")
    CheckpointStore(store.folder)
    assert part.exists()
    CheckpointStore(store.folder, owner=True)
    assert not part.exists()
    assert store.steps() == [2, 4]


def test_links_survive_moving_the_folder(store: CheckpointStore, tmp_path: Path) -> None:
    store.point("best", 2)
    moved = shutil.move(store.folder, tmp_path / "moved")
    assert read_checkpoint(Path(moved) / "best").step == 2
    assert read_checkpoint(Path(moved) / "best").path.name == "step-000002"


def test_what_is_no_checkpoint_is_input_missing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputMissing, match="checkpoint"):
            read_checkpoint(path)
