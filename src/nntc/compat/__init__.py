"""The names and commands of the historical toolchain, on top of this one."""
