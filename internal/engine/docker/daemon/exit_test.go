package daemon

import (
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestExitReason(t *testing.T) {
	for want, c := range map[string]struct {
		state   container.State
		command bool
	}{
		"was never started":                                     {container.State{Status: container.StateCreated}, false},
		"could not be started: no":                              {container.State{Status: container.StateCreated, Error: "no"}, false},
		"exited with 137: it ran out of memory":                 {container.State{OOMKilled: true, ExitCode: 137}, false},
		"exited with 137: killed from outside or out of memory": {container.State{ExitCode: 137}, true},
		"was stopped":                                           {container.State{ExitCode: 0}, false},
		"its command exited with 0":                             {container.State{ExitCode: 0}, true},
		"its command exited with 3":                             {container.State{ExitCode: 3}, true},
		"exited with 1":                                         {container.State{ExitCode: 1}, false},
		"its guest did not come up":                             {container.State{ExitCode: 32}, false},
		"its command exited with 32":                            {container.State{ExitCode: 32}, true},
	} {
		if got := ExitReason(&c.state, c.command); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
