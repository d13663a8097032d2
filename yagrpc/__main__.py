"""`python -m yagrpc`: the `yagrpc` command, also where scripts of packages are not on the path."""

from __future__ import annotations

from yagrpc.cli import main

if __name__ == "__main__":
    main()
