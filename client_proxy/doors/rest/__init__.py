"""The proxy's HTTPS API, which people's clients, the menu and the command line use.

`app` builds the application and wraps every route; `files`, `versions`, `buckets`, `locks`, `accounts` and `cluster`
have the routes; `openapi` describes them. The file store moves the bytes, and the directory decides.
"""

from client_proxy.doors.rest.app import create_app

__all__ = ["create_app"]
