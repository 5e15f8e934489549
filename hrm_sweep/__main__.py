"""`python -m hrm_sweep`."""

import sys

if __name__ == "__main__":
    try:
        from hrm_sweep.cli import main  # takes a second, in which Ctrl-C may come
    except KeyboardInterrupt:
        sys.exit(130)
    main()
