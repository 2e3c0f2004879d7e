"""Folders that frameworks write as checkpoints. Source: what PyTorch, Orbax and TensorFlow write."""

import re

from statetree.errors import StateTreeError
from statetree.files import Folder, is_folder, list_folder, lock_folder
from statetree.formats._sample import Bytes, Recognised, Sample
from statetree.formats.pickles import importing, imports_of

__all__ = ["folder_imports", "recognise_folder"]

_PICKLE_BYTES = 16 << 20
_ZARR = "read its arrays with zarr, then statetree.save what you read"
_ORBAX = Recognised(
    "orbax", "an Orbax checkpoint (a folder)", "restore it with orbax.checkpoint, then statetree.save it"
)

# Names of which one must be in the folder → what it is; the first row that fits counts.
_NAMES: tuple[tuple[frozenset[str], Recognised], ...] = (
    (
        frozenset(("saved_model.pb", "saved_model.pbtxt")),
        Recognised(
            "savedmodel",
            "a TensorFlow SavedModel (a folder with a program)",
            "load it with tensorflow where you trust it, then statetree.save its variables as arrays",
        ),
    ),
    (frozenset(("_CHECKPOINT_METADATA", "manifest.ocdbt")), _ORBAX),
    (frozenset(("zarr.json",)), Recognised("zarr", "a Zarr v3 folder that statetree did not write", _ZARR)),
    (frozenset((".zgroup", ".zarray", ".zmetadata")), Recognised("zarr", "a Zarr v2 folder", _ZARR)),
    (
        frozenset(("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")),
        Recognised(
            "huggingface",
            "a Hugging Face model folder",
            "load its weights with their library, then statetree.save them as a dict of arrays",
        ),
    ),
)
_SHARD = re.compile(r".+\.data-\d{5}-of-\d{5}")
TENSORFLOW = Recognised(
    "tensorflow",
    "a TensorFlow checkpoint",
    "read it with tf.train.load_checkpoint, then statetree.save its tensors as a dict of arrays",
)


def folder_imports(sample: Sample) -> list[str]:
    """Return the globals that `.metadata` of a distributed PyTorch checkpoint imports; [] where there is none."""
    if not sample.names or ".metadata" not in sample.names:
        return []
    # A descriptor of the folder is what keeps a link from being followed; the shared lock that comes with it is idle.
    fd = lock_folder(sample.path, exclusive=False)
    if fd is None:
        return []
    folder = Folder(sample.path, fd)
    try:
        file = folder.file(".metadata")
        data = Bytes(file.read(0, min(_PICKLE_BYTES, file.size)))
        file.close()
    except StateTreeError:
        return []
    finally:
        folder.close()
    return imports_of(data)


def recognise_folder(sample: Sample) -> Recognised | None:
    """Recognise a folder by the names in it."""
    if sample.names is None:
        return None
    if not sample.names:
        return Recognised("empty", "an empty folder", "nothing was saved in it: check the path")
    if ".metadata" in sample.names and any(name.endswith(".distcp") for name in sample.names):
        return Recognised(
            "torch-dcp",
            importing("a distributed PyTorch checkpoint (a folder with a pickle)", folder_imports(sample)),
            "pickles run code when opened and are refused for long-term storage; "
            "load it with torch.distributed.checkpoint where you trust it, and save its state",
            pickle=True,
        )
    for names, what in _NAMES:
        if names & sample.names:
            return what
    if any(map(_SHARD.fullmatch, sample.names)):
        return Recognised("tensorflow", "a folder with a TensorFlow checkpoint", TENSORFLOW.remedy)
    return _series(sample)


def _series(sample: Sample) -> Recognised | None:
    """Recognise the folder of an Orbax CheckpointManager: one checkpoint a step, named by its number."""
    steps = [name for name in sample.names or () if name.isdecimal()]
    if not steps:
        return None
    step = sample.path / min(steps)
    if not is_folder(step) or "_CHECKPOINT_METADATA" not in {name for name, _ in list_folder(step)}:
        return None
    return Recognised("orbax", "a series of Orbax checkpoints (a folder)", _ORBAX.remedy)
