"""`python -m mobilenets` is the `mobilenets` command."""

from mobilenets.cli.app import main

main()
