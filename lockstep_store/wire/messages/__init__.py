"""The messages that programs exchange, one module for each subject."""
