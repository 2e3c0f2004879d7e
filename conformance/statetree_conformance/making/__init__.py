"""How the vectors are made: by the rules of the specification, without the implementation that they judge.

`python -m statetree_conformance.making --write` makes them all, `--check` says which are not what they would be,
`--pin` adds the digests of new ones to those that may not change.
"""

from collections.abc import Iterator

from statetree_conformance.making.record import Made

__all__ = ["HDF5", "all_made"]

HDF5 = "2.0.0"
"""The version of the HDF5 library that made the HDF5 files; another may lay them out in another way."""


def all_made() -> Iterator[Made]:
    """Yield all vectors."""
    from statetree_conformance.making import (
        foreign,
        invalid_bson,
        invalid_bson_pieces,
        invalid_common,
        invalid_hdf5_file,
        invalid_hdf5_objects,
        invalid_json,
        invalid_nodes,
        invalid_zarr,
        invalid_zarr_arrays,
        invalid_zarr_packs,
        invalid_zip,
        limits,
        valid_bson,
        valid_hdf5,
        valid_trees,
        valid_zarr,
    )

    of_all = (valid_trees, invalid_common, invalid_json, invalid_nodes, limits, foreign)
    of_one = (valid_hdf5, invalid_hdf5_file, invalid_hdf5_objects, valid_bson, invalid_bson, invalid_bson_pieces)
    of_zarr = (valid_zarr, invalid_zarr, invalid_zarr_arrays, invalid_zarr_packs, invalid_zip)
    ids: set[str] = set()
    for table in (*of_all, *of_one, *of_zarr):
        for made in table.made():
            if made.id in ids:
                raise ValueError(f"expected unique ids, got {made.id} twice")
            ids.add(made.id)
            yield made
