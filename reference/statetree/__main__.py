"""`python -m statetree`: the command."""

from statetree.cli import main

main()
