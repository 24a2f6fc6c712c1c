"""The lab: an emulated computer with what a passthrough host has, and the tests that need one. Read README.md first."""
