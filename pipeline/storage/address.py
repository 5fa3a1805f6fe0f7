"""Addresses that carry a user or a password: addresses are printed, logged and stored, so none of these is taken."""

import re

_USER = re.compile(r"(?<=://)[^/?#\s]*@")


def refuse_user(name: str, address: str, instead: str) -> None:
    """See that an address carries neither user nor password.

    Args:
        name: of the setting, for the message, which does not show the address.
        address: its value.
        instead: what to do.

    Raises:
        ValueError: it carries one.
    """
    if _USER.search(address):
        raise ValueError(
            f"{name} carries a user or a password, which would be printed and stored: take it out, and {instead}"
        )


def shown(text: str) -> str:
    """A text without the users and passwords of the addresses in it, for messages."""
    return _USER.sub("***@", text)
