"""Saves on SIGTERM, which takes it a few steps more, for each of which it needs its
loader. It fails if it is told twice, and dies of SIGHUP."""
import os, signal, sys, time
r, w = os.pipe()
if os.fork() == 0:
    os.close(r)
    while True:
        os.write(w, b"batch\n")
os.close(w)
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("training", flush=True)
while not told:
    os.read(r, 6)
    time.sleep(0.01)
for _ in range(20):
    if os.read(r, 6) != b"batch\n":
        sys.exit("the loader is gone")
    time.sleep(0.01)
if len(told) > 1:
    sys.exit("told %d times" % len(told))
open(sys.argv[1], "w").write("saved")
sys.exit(9)
