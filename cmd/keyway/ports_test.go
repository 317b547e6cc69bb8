package main

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestPortRows checks that a port that a template offers is listed whether a program listens on it
// or not.
func TestPortRows(t *testing.T) {
	rows := portRows([]keyway.Port{{Port: 22, Address: "0.0.0.0"}, {Port: 8888, Address: "127.0.0.1", Program: "jupyter", Session: "lab"}}, []int{8888, 6006})
	text := portsText(rows, 0)
	for _, want := range []string{"8888  127.0.0.1  jupyter  lab  offered by the template\n", "6006  -          -        -    offered by the template; nothing listens\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(rows) != 3 || rows[0].Offered || rows[1].Port.Port != 6006 || !rows[2].Offered {
		t.Errorf("%+v", rows)
	}
}
