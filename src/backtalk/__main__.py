"""`python -m backtalk` is the `backtalk` command."""

from backtalk.cli.main import main

if __name__ == "__main__":
    main()
