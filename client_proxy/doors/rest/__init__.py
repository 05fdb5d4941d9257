"""The proxy's HTTPS API: what people's clients, the menu and the command line speak.

`app` makes the application and wraps every route; `files`, `versions`, `buckets`, `locks`, `accounts` and `cluster`
hold the routes; `openapi` describes them. Bytes and truth are `file_store`'s and the directory's business.
"""

from client_proxy.doors.rest.app import create_app

__all__ = ["create_app"]
