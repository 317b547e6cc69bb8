package proctree

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestApart checks what sets a process apart from its parent.
func TestApart(t *testing.T) {
	if why := Apart(os.Getpid()); why != "" {
		t.Error(why)
	}
	for script, alike := range map[string]bool{
		"":                true,
		"trap '' INT;":    true,
		"trap '' HUP;":    false,
		"ulimit -f 1000;": false,
	} {
		cmd := exec.Command("bash", "-c", script+" exec sleep 1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); Name(cmd.Process.Pid) != "sleep"; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not begin")
			}
		}
		if why := Apart(cmd.Process.Pid); (why == "") != alike {
			t.Errorf("%q: %q", script, why)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
