"""What a user can mend, told apart from what only we can."""


class UserError(ValueError):
    """Something that was given is wrong: the message names it, what was found and what was expected.

    The command line prints it as one line and ends with exit code 2. Any other exception is a bug and shows its traceback.
    """
