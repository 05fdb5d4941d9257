"""Tests of the door for Git LFS."""
