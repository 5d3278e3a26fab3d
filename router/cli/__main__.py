"""`python -m router.cli` is `clearbar`."""

from router.cli import main

main()
