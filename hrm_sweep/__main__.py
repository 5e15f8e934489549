"""`python -m hrm_sweep`."""

from hrm_sweep.cli import main

if __name__ == "__main__":
    main()
