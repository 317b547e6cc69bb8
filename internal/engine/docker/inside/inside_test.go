package inside

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestTooFewProcesses checks the messages of runtimes and of Go programs that have no more threads,
// including messages of which only the end is left.
func TestTooFewProcesses(t *testing.T) {
	for said, too := range map[string]bool{
		"runtime: failed to create new OS thread (have 5 already; errno=11)\nruntime: may need to increase max user processes (ulimit -u)": true,
		"fatal error: newosproc": true,
		"goroutine 1 gp=0xc000002380 m=0 mp=0x9a8f60 [running]:\nruntime.systemstack_switch()":                        true,
		"\truntime/asm_amd64.s:1771\n\ngoroutine 7 [select]:":                                                         true,
		"OCI runtime create failed: runc create failed: unable to start: fork/exec: Resource temporarily unavailable": true,
		"keyway-guest: the host key cannot be read":                                                                   false,
		"": false,
	} {
		for limit, fits := range map[int64]bool{12: false, 0: true, -1: true, 32768: true} {
			s := keyway.Spec{Resources: keyway.Resources{PidsLimit: limit}}
			err := TooFewProcesses(s, said)
			if (err != nil) != (too && !fits) {
				t.Errorf("%q with a limit of %d: %v", said, limit, err)
			}
			if err != nil && (!keyway.Is(err, keyway.Usage) || !strings.Contains(err.Error(), "12 processes") || keyway.AsError(err).Help() == "") {
				t.Errorf("it says %v", err)
			}
		}
	}
}
