"""`python -m hrm_sweep` and `hrm-sweep`."""

import sys


def main() -> None:
    """Run the command line, whose imports take a second, in which Ctrl-C may come."""
    try:
        from hrm_sweep.hrm import PRELOAD
        from hrm_sweep.launch import fork_server

        fork_server.start_early(sys.argv[1:], preload=PRELOAD)
        from hrm_sweep.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    main()
