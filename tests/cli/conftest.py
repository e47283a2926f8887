from tests.cli.places import inside_place, place

__all__ = ["inside_place", "place"]
