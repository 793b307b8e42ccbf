"""``python -m stpl.cli``: the command, for launchers that take a module (``accelerate launch -m stpl.cli adapt …``)."""

from stpl.cli.main import main

if __name__ == "__main__":
    main()
