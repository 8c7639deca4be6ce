"""``python -m sharptheory`` is the `sharptheory` command (for `accelerate launch -m sharptheory train …`)."""

from sharptheory.cli import main

if __name__ == "__main__":
    main()
