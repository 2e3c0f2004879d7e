"""How the vectors are made: by the rules of the specification, without the implementation that they judge.

`python -m statetree_conformance.making --write` makes them all, `--check` says which are not what they would be.
"""

from collections.abc import Iterator

from statetree_conformance.making.record import Made

__all__ = ["all_made"]


def all_made() -> Iterator[Made]:
    """Yield all vectors."""
    from statetree_conformance.making import (
        invalid_common,
        invalid_hdf5_file,
        invalid_hdf5_objects,
        invalid_json,
        invalid_nodes,
        valid_bson,
        valid_hdf5,
        valid_trees,
        valid_zarr,
    )

    for table in (valid_trees, valid_hdf5, valid_zarr, valid_bson, invalid_common, invalid_hdf5_file, invalid_hdf5_objects, invalid_json, invalid_nodes):
        yield from table.made()
