//go:build linux

package guest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"keyway/internal/unixsock"
)

// relayTCP returns a TCP port that leads to the guest, for clients that know no
// ProxyCommand.
func (w *workspace) relayTCP() (port string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			guest, err := unixsock.Dial(w.home.Socket())
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() { _, _ = io.Copy(guest, client); guest.Close() })
			all.Go(func() { _, _ = io.Copy(client, guest); client.Close() })
		}
	})
	w.t.Cleanup(func() { l.Close(); w.stop(); all.Wait() })
	_, port, err = net.SplitHostPort(l.Addr().String())
	must(w.t, err)
	return port
}

// key returns the file of the key that may enter.
func (w *workspace) key() string {
	config, err := os.ReadFile(w.config)
	must(w.t, err)
	_, rest, _ := strings.Cut(string(config), "IdentityFile ")
	path, _, _ := strings.Cut(rest, "\n")
	return path
}

// Programs that append to a file. Each is given the directory of the workspace,
// the key, the user and the port.
const (
	appendParamiko = `
import sys, paramiko
dir, key, user, port = sys.argv[1:]
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect("127.0.0.1", int(port), username=user, key_filename=key, look_for_keys=False, allow_agent=False)
s = c.open_sftp()
for mode in ("a", "ab", "a+"):
    with s.open(dir + "/log", mode) as f: f.write("more\n")
c.close()
`
	appendAsyncSSH = `
import asyncio, sys, asyncssh
dir, key, user, port = sys.argv[1:]
async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None, config=None) as c:
        async with c.start_sftp_client() as s:
            for _ in range(3):
                async with s.open(dir + "/log", "a") as f: await f.write("more\n")
asyncio.run(main())
`
	appendCurl = `for i in 1 2 3; do echo more | curl -sSk -a -T - --key "$2" --pubkey "$2.pub" "sftp://$3@127.0.0.1:$4$1/log"; done`
	appendSFTP = `echo first >whole; for i in 1 2 3; do echo more >>whole; done; printf 'reput whole log\n' | sftp -F config -b - ws`
)

// TestAppend checks that appending overwrites nothing. A server that writes at the client's offset
// for the end would overwrite data that others have written since.
func TestAppend(t *testing.T) {
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"paramiko", []string{"/usr/bin/python3", "-W", "ignore", "-c", appendParamiko}},
		{"asyncssh", []string{"/usr/bin/python3", "-W", "ignore", "-c", appendAsyncSSH}},
		{"curl", []string{"sh", "-ec", appendCurl, "sh"}},
		{"sftp", []string{"sh", "-ec", appendSFTP, "sh"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := startWorkspace(t)
			log := filepath.Join(w.dir, "log")
			must(t, os.WriteFile(log, []byte("first\n"), 0o600))
			args := append(slices.Clone(c.argv[1:]), w.dir, w.key(), w.info.User, w.relayTCP())
			w.output(w.command(c.argv[0], args...))
			data, err := os.ReadFile(log)
			must(t, err)
			if string(data) != "first\nmore\nmore\nmore\n" {
				t.Errorf("left %q", data)
			}
		})
	}
}

// TestAppendByTwoMounts checks that two machines that mount a workspace and append to one log lose
// no line.
func TestAppendByTwoMounts(t *testing.T) {
	const lines = 50
	w := startWorkspace(t)
	dir := filepath.Join(w.dir, "shared")
	must(t, os.Mkdir(dir, 0o755))
	var writers sync.WaitGroup
	for i := range 2 {
		at := filepath.Join(w.dir, fmt.Sprint("mount", i))
		must(t, os.Mkdir(at, 0o755))
		w.output(w.command("sshfs", "-F", w.config, "ws:"+dir, at))
		defer func() { w.output(w.command("fusermount3", "-u", at)) }()
		writer := w.command("sh", "-ec", fmt.Sprintf(`for i in $(seq %d); do echo writer %d line $i >>"$1"; done`, lines, i), "sh", filepath.Join(at, "log"))
		writers.Go(func() {
			if out, err := writer.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	writers.Wait()
	data, err := os.ReadFile(filepath.Join(dir, "log"))
	must(t, err)
	for i := range 2 {
		for n := range lines {
			if line := fmt.Sprintf("writer %d line %d\n", i, n+1); strings.Count(string(data), line) != 1 {
				t.Errorf("%d times %q", strings.Count(string(data), line), line)
			}
		}
	}
}
