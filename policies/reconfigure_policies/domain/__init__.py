"""The vocabulary that every room shares: frozen dataclasses, standard library only."""
