"""The containers of the format: HDF5, Zarr, BSON and memory, one module each."""
