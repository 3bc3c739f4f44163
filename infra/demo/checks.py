"""What the story insists on."""


class StoryError(Exception):
    """A step did not do what it says; the message tells what was seen instead."""


def check(truth: bool, otherwise: str) -> None:  # noqa: FBT001
    """Raise StoryError(`otherwise`) unless `truth`."""
    if not truth:
        raise StoryError(otherwise)
