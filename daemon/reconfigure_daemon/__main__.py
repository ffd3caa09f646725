"""`python -m reconfigure_daemon` is `reconfigure`."""

from reconfigure_daemon.cli.main import main

main()
