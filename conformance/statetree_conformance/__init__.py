"""The conformance suite: strategies, laws and vectors for any implementation of the format."""
