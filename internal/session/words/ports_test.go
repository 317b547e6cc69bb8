//go:build linux

package words

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/session/option"
	"keyway/internal/session/view"
)

func TestPortsNamesWhoListens(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := keyway.Port{Port: l.Addr().(*net.TCPAddr).Port, Address: "127.0.0.1", PID: os.Getpid(), Program: "words.test"}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := &cli{Process: view.Process{Out: out}}
	if code, err := c.ports(option.Given{Values: map[string]string{"json": ""}}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	var ports []keyway.Port
	if err := json.Unmarshal(text, &ports); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, p := range ports {
		if p.Port == want.Port {
			if p != want {
				t.Errorf("%+v, want %+v", p, want)
			}
			return
		}
	}
	t.Errorf("%+v is not in %s", want, text)
}

func TestListening(t *testing.T) {
	const rest = " 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 23456 1"
	for line, want := range map[string]keyway.Port{
		"   0: 0100007F:22B8" + rest:                         {Port: 8888, Address: "127.0.0.1"},
		"   1: 00000000:0016" + rest:                         {Port: 22, Address: "0.0.0.0"},
		"   2: 00000000000000000000000001000000:1F90" + rest: {Port: 8080, Address: "::1"},
		"   3: B80D01200000000000000000010000FE:1F90" + rest: {Port: 8080, Address: "2001:db8::fe00:1"},
		"   4: 0100007F:22B8 0100007F:9000 01 0 0 0 0 0 1 1": {}, // connected
		"  sl  local_address rem_address   st tx_queue":      {},
		"": {},
	} {
		got, inode := listening(line)
		if got.Port != want.Port || want.Port != 0 && (got != want || inode != "23456") {
			t.Errorf("%q: %+v, inode %q", line, got, inode)
		}
	}
}
