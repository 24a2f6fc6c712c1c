"""How the lab says that it, and not qlaunch, has failed: one sentence, and what to do next."""


class LabError(Exception):
    """The lab cannot do what was asked; the message is a sentence, the hint says what to do or where the log is."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint
