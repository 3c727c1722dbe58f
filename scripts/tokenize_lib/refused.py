"""What ends the program in one line, and the exit statuses, as the program has them."""
USAGE, DATA, MEMORY, STOPPED = 2, 3, 4, 75


class Refused(Exception):
    """What ends the program in one line: a status and a message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
