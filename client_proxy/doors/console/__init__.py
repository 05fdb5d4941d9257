"""The door for people with a browser: the web console's page, and the cookies of its sessions."""

from client_proxy.doors.console.door import ConsoleDoor
from client_proxy.doors.console.sessions import SessionCookies

__all__ = ["ConsoleDoor", "SessionCookies"]
