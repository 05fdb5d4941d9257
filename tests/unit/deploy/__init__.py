"""Tests of what deploy/ has for service managers and monitoring."""
