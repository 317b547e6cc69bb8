//go:build linux

package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

func TestAuthorizedKeys(t *testing.T) {
	dir := t.TempDir()
	plain, restricted := writeKey(t, filepath.Join(dir, "a")), writeKey(t, filepath.Join(dir, "b"))
	line := func(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }
	file := strings.Join([]string{
		"# a comment", "", line(plain) + " ann@laptop", "restrict " + line(restricted),
		`command="true" ` + line(restricted), "ssh-ed25519 AAAA broken", "nonsense",
	}, "\r\n")
	keys := parseAuthorizedKeys([]byte(file), time.Now())
	if len(keys) != 1 || !bytes.Equal(keys[0].key.Marshal(), plain.Marshal()) || keys[0].comment != "ann@laptop" {
		t.Fatalf("got %+v", keys)
	}
}

// TestKeysEnd checks that a key with an expiry time enters before it and never after. A key with an
// unreadable time or a further option never enters.
func TestKeysEnd(t *testing.T) {
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(writeKey(t, filepath.Join(t.TempDir(), "a")))))
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	file := keyway.KeysFile(nil, []keyway.EntryKey{{Line: key, Until: end}})
	for _, c := range []struct {
		file string
		now  time.Time
		want int
	}{
		{string(file), end.Add(-time.Second), 1},
		{string(file), end, 0},
		{string(file), end.Add(time.Hour), 0},
		{`expiry-time="" ` + key, end.Add(-time.Hour), 0},
		{`expiry-time="tomorrow" ` + key, end.Add(-time.Hour), 0},
		{`expiry-time="20990301120000" ` + key, end, 0},
		{`expiry-time="20990301120000Z",restrict ` + key, end, 0},
		{`restrict,expiry-time="20990301120000Z" ` + key, end, 0},
	} {
		if keys := parseAuthorizedKeys([]byte(c.file), c.now); len(keys) != c.want {
			t.Errorf("%q at %v lets %d in, want %d", c.file, c.now, len(keys), c.want)
		}
	}
}

func TestNobodyEntersWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	key := writeKey(t, filepath.Join(dir, "a"))
	home := keyway.Home(dir)
	if _, err := findAuthorized(home, key); err == nil {
		t.Error("without the file")
	}
	must(t, os.WriteFile(home.AuthorizedKeys(), nil, 0o600))
	if _, err := findAuthorized(home, key); err == nil {
		t.Error("with an empty file")
	}
	long := append(ssh.MarshalAuthorizedKey(key), bytes.Repeat([]byte("#\n"), maxAuthorizedKeys)...)
	must(t, os.WriteFile(home.AuthorizedKeys(), long, 0o600))
	if _, err := findAuthorized(home, key); err == nil {
		t.Error("with a file that is too long")
	}
	must(t, os.WriteFile(home.AuthorizedKeys(), ssh.MarshalAuthorizedKey(key), 0o600))
	if _, err := findAuthorized(home, key); err != nil {
		t.Error(err)
	}
	if _, err := findAuthorized(home, writeKey(t, filepath.Join(dir, "b"))); err == nil {
		t.Error("with a key that is not in the file")
	}
}

func FuzzAuthorizedKeys(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIMPm2Q1fqPmymKxYlVkYxHAWBnRwFI34lCJjWlNT7tp a@b\n"))
	f.Add([]byte("restrict,pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIMPm2Q1fqPmymKxYlVkYxHAWBnRwFI34lCJjWlNT7tp\n"))
	f.Add([]byte("expiry-time=\"20990301120000Z\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIMPm2Q1fqPmymKxYlVkYxHAWBnRwFI34lCJjWlNT7tp\n"))
	f.Add([]byte("\n\r\n#\nno-touch-required"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys := parseAuthorizedKeys(data, time.Now())
		if len(keys) > bytes.Count(data, []byte("\n"))+1 {
			t.Fatalf("%d keys", len(keys))
		}
		for _, k := range keys {
			again := parseAuthorizedKeys(ssh.MarshalAuthorizedKey(k.key), time.Now())
			if len(again) != 1 || !bytes.Equal(again[0].key.Marshal(), k.key.Marshal()) {
				t.Fatalf("a key does not survive: %v", k)
			}
		}
	})
}

func FuzzPayloads(f *testing.F) {
	f.Add(ssh.Marshal(ptyRequest{Term: "xterm", Columns: 80, Rows: 24, Modes: "\x03\x00\x00\x00\x7f\x00"}))
	f.Add(ssh.Marshal(envRequest{"LANG", "C"}))
	f.Add(ssh.Marshal(tcpipChannel{"localhost", 80, "::1", 1024}))
	f.Add(ssh.Marshal(streamlocalChannel{Path: "/tmp/x"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decode[ptyRequest](data); err == nil {
			survives(t, data, p)
			if len(parseModes(p.Modes)) > len(p.Modes)/5 {
				t.Fatal("more modes than there is room for")
			}
		}
		tryPayload[windowChange](t, data)
		tryPayload[envRequest](t, data)
		tryPayload[execRequest](t, data)
		tryPayload[signalRequest](t, data)
		tryPayload[tcpipChannel](t, data)
		tryPayload[tcpipForward](t, data)
		tryPayload[streamlocalChannel](t, data)
		tryPayload[streamlocalForward](t, data)
	})
}

func tryPayload[T any](t *testing.T, data []byte) {
	if msg, err := decode[T](data); err == nil {
		survives(t, data, msg)
	}
}

func survives(t *testing.T, data []byte, msg any) {
	if again := ssh.Marshal(msg); !bytes.Equal(again, data) {
		t.Fatalf("%x was read as %+v, which is %x", data, msg, again)
	}
}
