"""`python -m miner`: the command `hashmill`."""

from miner.cli import main

if __name__ == "__main__":
    main()
