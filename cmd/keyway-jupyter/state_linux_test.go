package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

func perm(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// TestFilesAreClosed checks the modes of the files on disk: a user that can read them can execute
// code.
func TestFilesAreClosed(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_STATE_HOME", home)
	dir, err := stateDir()
	if err != nil {
		t.Fatal(err)
	}
	first, err := token(dir)
	if err != nil || len(first) < 40 {
		t.Fatal(first, err)
	}
	if err := publish(dir, server{Kind: "lab", Base: "/"}, first); err != nil {
		t.Fatal(err)
	}
	l, err := listen(filepath.Join(dir, "front.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range map[string]os.FileMode{".": 0o700, "token": 0o600, "where.json": 0o600, "front.sock": 0o600} {
		if got := perm(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has mode %o", name, got)
		}
	}
	// The address and the mode stay the same.
	for _, path := range []string{dir, filepath.Join(dir, "token")} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stateDir(); err != nil {
		t.Fatal(err)
	}
	again, err := token(dir)
	if again != first || err != nil || perm(t, dir) != 0o700 || perm(t, filepath.Join(dir, "token")) != 0o600 {
		t.Errorf("%q, %v; %o, %o", again, err, perm(t, dir), perm(t, filepath.Join(dir, "token")))
	}
	var out bytes.Buffer
	if err := where(&out, 0); err != nil || !strings.Contains(out.String(), first) {
		t.Errorf("%v: %s", err, &out)
	}
	if _, err := listen(filepath.Join(dir, strings.Repeat("x", 120))); err == nil {
		t.Error("a path that no client can connect to")
	}
}

func TestReadServer(t *testing.T) {
	for text, want := range map[string]string{
		`{"base_url":"/","port":8888,"token":"t","pid":7}`:                        "tcp 127.0.0.1:8888",
		`{"base_url":"/x/","port":0,"sock":"/run/s","token":"t","pid":7}`:         "unix /run/s",
		`{"base_url":"/","port":8888,"token":"","pid":7}`:                         "",
		`{"base_url":"/","port":8888,"token":"t","pid":7,"secure":true}`:          "",
		`{"base_url":"x","port":8888,"token":"t","pid":7}`:                        "",
		`{"base_url":"/","port":99999,"token":"t","pid":7}`:                       "",
		`{"base_url":"/","port":8888,"token":"t","pid":0}`:                        "",
		`{"base_url":"/","port":8888,"hostname":"192.0.2.1","token":"t","pid":7}`: "tcp 127.0.0.1:8888",
		`[]`: "", ``: "", `{"port":"x"}`: "",
	} {
		s, ok := readServer([]byte(text))
		got := ""
		if ok {
			got = s.Network + " " + s.Address
		}
		if got != want {
			t.Errorf("%s: %q, not %q", text, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	for line, want := range map[string]int{"": 2, "nonsense": 2, "serve --lab --notebook": 2, "where x": 2, "where --wait": 2, "serve --what": 2, "version": 0, "serve -h": 0, "keep": 1} {
		var out, news bytes.Buffer
		if got := run(strings.Fields(line), &out, &news); got != want {
			t.Errorf("%q: exit code %d, %s", line, got, &news)
		}
	}
}

// TestOutputCannotBeWritten checks that a command fails if its output cannot be written.
func TestOutputCannotBeWritten(t *testing.T) {
	runsAs(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]\n")) })
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, line := range []string{"version", "where", "kernels"} {
		var news bytes.Buffer
		if got := run([]string{line}, full, &news); got != 1 || !strings.Contains(news.String(), "no space left") {
			t.Errorf("%s: exit code %d, %s", line, got, &news)
		}
	}
}

// TestAnswerIsTooLong checks that a command prints a complete answer or none.
func TestAnswerIsTooLong(t *testing.T) {
	size := maxAnswer
	runsAs(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
	var out, news bytes.Buffer
	if got := run([]string{"kernels"}, &out, &news); got != 0 || out.Len() != size {
		t.Errorf("%d bytes: exit code %d with %d bytes, %s", size, got, out.Len(), &news)
	}
	out.Reset()
	size++
	if got := run([]string{"kernels"}, &out, &news); got != 1 || out.Len() != 0 {
		t.Errorf("%d bytes: exit code %d with %d bytes, %s", size, got, out.Len(), &news)
	}
}

// runsAs serves answer as the running program does.
func runsAs(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv(keyway.EnvHome, "")
	dir, err := stateDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(dir, server{Kind: "lab", Base: "/"}, "secret"); err != nil {
		t.Fatal(err)
	}
	l, err := listen(filepath.Join(dir, "front.sock"))
	if err != nil {
		t.Fatal(err)
	}
	serveWeb(t, l, answer)
}

// serveWeb answers the requests at l until the test ends.
func serveWeb(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = s.Close() })
}

// TestArguments checks that the server listens on the user's address, and otherwise on keyway's
// socket.
func TestArguments(t *testing.T) {
	for given, want := range map[string]bool{
		"": true, "--debug": true, "--ServerApp.root_dir=/x": true, "--ip-is-no-option": true,
		"--port 8889": false, "--port=8889": false, "--ip=127.0.0.1": false, "--ServerApp.port=1": false, "--NotebookApp.ip=::1": false, "--sock=/x": false,
	} {
		args := arguments("/our/socket", strings.Fields(given))
		if got := slices.Contains(args, "--ServerApp.sock=/our/socket"); got != want {
			t.Errorf("%q: our socket %v", given, got)
		}
		if !strings.HasSuffix(strings.Join(args, " "), given) {
			t.Errorf("%q is lost: %q", given, args)
		}
	}
}
