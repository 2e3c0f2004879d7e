"""What comes back: awkward leaves and containers, saved and loaded by statetree and by others. See docs/fidelity.md."""
