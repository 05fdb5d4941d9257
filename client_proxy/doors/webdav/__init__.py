"""The door for WebDAV (RFC 4918, classes 1, 2 and 3) at `/dav/BUCKET/path`: Finder, Explorer, GNOME, davfs2, rclone."""
