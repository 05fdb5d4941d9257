"""The door of share links: plain pages for people without an account, at `/s/TOKEN`."""
