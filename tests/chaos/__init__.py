"""The stack broken on purpose: real processes, real faults, and after each the promises checked one by one."""
