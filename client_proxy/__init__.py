"""The client proxy: menu, command line and HTTPS API over one validated, sealed cache."""
