package main

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// beforeAll is a cell that waits for a file, prints 10,000 lines and makes another file. It pauses
// often enough for ZeroMQ's thread in the Jupyter server to take the messages.
const beforeAll = `import os, time
print("line", 0, flush=True)
while not os.path.exists("held"):
    time.sleep(0.005)
for i in range(1, 10_000):
    print("line", i, flush=True)
    if i % 50 == 0:
        time.sleep(0.01)
open("printed", "w").close()
print("END", "a kernel has the server's variable" if "JUPYTER_CONFIG_PATH" in os.environ else 10_000)`

// noneDropped checks that no message is lost if a kernel prints while the Jupyter server reads
// nothing.
func noneDropped(t *testing.T, w *world) {
	a := w.front.open(t, w.front.kernel(t), "", wire.V1)
	id := a.run(beforeAll, "")
	a.line(id, 0)
	holdThread(t, running()[0].PID, func() {
		if err := os.WriteFile(filepath.Join(w.dir, "held"), nil, 0o600); err != nil {
			t.Error(err)
		}
		await.That(t, "all lines printed", func() bool { _, err := os.Stat(filepath.Join(w.dir, "printed")); return err == nil })
	})
	everyLine(t, a.ended(id))
}

// holdThread stops the first thread of a process while f runs. In a Jupyter server, that thread
// runs Python; the threads of ZeroMQ continue.
func holdThread(t *testing.T, pid int, f func()) {
	t.Helper()
	runtime.LockOSThread() // ptrace(2) is for the thread that attached
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.PtraceDetach(pid); err != nil {
			t.Error(err)
		}
	}()
	if _, err := syscall.Wait4(pid, nil, syscall.WALL, nil); err != nil {
		t.Fatal(err)
	}
	f()
}
