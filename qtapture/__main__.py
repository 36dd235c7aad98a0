"""The program `qtapture`, also as `python -m qtapture`."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process and return its exit status."""
    try:
        # Loaded here, as Ctrl-C may come while packages are still being imported.
        from qtapture.cli.app import run  # noqa: PLC0415

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
