#!/bin/sh
# Notes which process a browser is before it becomes one, so that a Runtime that finds it orphaned knows what to end.
# A script and not a look at the children afterwards: a kill between start and look would leave an unknown browser.
echo "$$" > "$STAGEDOOR_BROWSER_RECORD" || exit 1
[ -z "$STAGEDOOR_BROWSER_PLAN" ] || exec "$STAGEDOOR_PYTHON" -I -S -B "${0%/*}/enter.py" "$@"
exec "$STAGEDOOR_BROWSER" "$@"
