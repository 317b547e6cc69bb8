//go:build linux

package words

import (
	"fmt"
	"testing"

	"keyway/internal/pipe"
)

// TestPipesAreWide checks that a job that prints much fills larger pipes than usual, also on
// stderr.
func TestPipesAreWide(t *testing.T) {
	l := newLab(t)
	const sizes = `import fcntl; print(fcntl.fcntl(1, fcntl.F_GETPIPE_SZ), fcntl.fcntl(2, fcntl.F_GETPIPE_SZ))`
	for _, c := range []struct {
		args []string
		out  int
	}{{[]string{"run", "-T"}, pipe.Widest}, {[]string{"run", "-d", "-T"}, pipe.Wide}} {
		l.keyway(append(c.args, "--as", "x", "--", "python3", "-c", sizes)...)
		l.ok("wait", "x")
		if got, want := l.ok("logs", "x"), fmt.Sprintf("%d %d\n", c.out, pipe.Wide); got != want {
			t.Errorf("%v: the pipes have %q bytes, want %q", c.args, got, want)
		}
	}
}
