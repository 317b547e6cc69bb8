package laptop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestReadPorts checks arbitrary reports of a workspace about its ports.
func TestReadPorts(t *testing.T) {
	for _, list := range []string{"", "{", "5", `{"port":1}`, `[{"port":"1"}]`} {
		if ports, err := readPorts([]byte(list)); !keyway.Is(err, keyway.VersionMismatch) {
			t.Errorf("%q: %+v, %v", list, ports, err)
		}
	}
	got, err := readPorts([]byte(`[{"port":8888,"program":"a\u001b[2J\nb","address":"1\u202e2","session":"../x"},{"port":0},{"port":-1},{"port":70000},{"port":80,"session":"web"}]`))
	if err != nil || len(got) != 2 || got[0] != (keyway.Port{Port: 80, Session: "web"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if p := got[1]; p.Port != 8888 || p.Session != "" || strings.ContainsAny(p.Program+p.Address, "\x1b\n\u202e") {
		t.Errorf("%+v", p)
	}
	many, err := json.Marshal(slices.Repeat([]keyway.Port{{Port: 1}}, 5*maxPorts))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readPorts(many); err != nil || len(got) > maxPorts {
		t.Errorf("%d ports, %v", len(got), err)
	}
}

func FuzzReadPorts(f *testing.F) {
	f.Add([]byte(`[{"port":8888,"address":"127.0.0.1","pid":1,"program":"p","session":"s"}]`))
	f.Fuzz(func(t *testing.T, list []byte) {
		ports, _ := readPorts(list)
		for _, p := range ports {
			if p.Port < 1 || p.Port > 65535 || strings.ContainsAny(p.Program+p.Address+p.Session, "\x00\x1b\n") {
				t.Errorf("%+v", p)
			}
		}
	})
}
