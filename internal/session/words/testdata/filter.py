"""Passes lines on, as a filter of a user's own does. With an argument, it has its own way to
end at SIGTERM."""
import signal, sys
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for line in iter(sys.stdin.readline, ""):
    print(line, end="", flush=True)
