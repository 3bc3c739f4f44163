"""What goes wrong in the native stack, told in lines for the person at the terminal."""


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message says why and what to do."""
