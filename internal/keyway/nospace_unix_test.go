//go:build unix

package keyway

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestAFullDiskIsSaid checks that the message names a full disk or quota, whichever part of keyway
// meets it, and has no other advice.
func TestAFullDiskIsSaid(t *testing.T) {
	for cause, types := range map[syscall.Errno]string{syscall.ENOSPC: "df -h /home/ada; df -i /home/ada", syscall.EDQUOT: "quota -s"} {
		raw := error(&fs.PathError{Op: "write", Path: "/home/ada/file", Err: cause})
		for what, err := range map[string]error{
			"a plain error":     fmt.Errorf("writing: %w", raw),
			"a configuration":   Errorf(BadConfig, "the state directory cannot be used: %w", raw).Hint("remove what is in its way").Advise(CheckPolicy),
			"an error of one":   Errorf(Other, "not done: %w", Errorf(BadConfig, "no: %w", raw)).Hint("try again"),
			"beside another":    errors.Join(errors.New("also"), raw),
			"one of its own":    Errorf(NoSpace, "no space left: %w", raw).Hint("%s", makeRoom(raw)),
			"an error of a log": Errorf(BadConfig, "the log cannot be written: %w", raw),
		} {
			e := AsTold(err)
			if e.Kind != NoSpace || !strings.Contains(e.Help(), types) || strings.Contains(e.Help(), "in its way") || len(e.Advice) > 0 {
				t.Errorf("%s: %s, %q", what, e.Kind, e.Help())
			}
			if ExitCode(e) != 25 {
				t.Errorf("%s exits with %d", what, ExitCode(e))
			}
		}
	}
	for _, err := range []error{Errorf(Usage, "wrong: %w", syscall.ENOSPC), errors.New("no"), nil} {
		if got, want := AsTold(err), AsError(err); got != nil && got.Kind != want.Kind || (got == nil) != (want == nil) {
			t.Errorf("%v is told as %v", err, got)
		}
	}
}
