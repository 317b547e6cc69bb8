//go:build linux

package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// samples returns one well-formed request of each kind.
func samples(dir string) [][]byte {
	return [][]byte{
		once(fxpOpen, "file", openRead, attributes{flags: attrSize | attrOwner | attrPermissions | attrTimes | attrExtended})(dir),
		once(fxpClose, h(7))(dir),
		once(fxpRead, h(7), uint64(0), 5)(dir),
		once(fxpWrite, h(7), uint64(0), "data")(dir),
		once(fxpLstat, "file")(dir),
		once(fxpFstat, h(7))(dir),
		once(fxpSetstat, "none", attributes{flags: attrPermissions})(dir),
		once(fxpFsetstat, h(7), attributes{flags: attrPermissions})(dir),
		once(fxpOpendir, "none")(dir),
		once(fxpReaddir, h(7))(dir),
		once(fxpRemove, "none")(dir),
		once(fxpMkdir, "none/x", attributes{flags: attrTimes})(dir),
		once(fxpRmdir, "none")(dir),
		once(fxpRealpath, "file")(dir),
		once(fxpStat, "file")(dir),
		once(fxpRename, "none", "other")(dir),
		once(fxpReadlink, "link")(dir),
		once(fxpSymlink, "a", "none/b")(dir),
		once2("posix-rename@openssh.com", "none", "other")(dir),
		once2("statvfs@openssh.com", "none")(dir),
		once2("fstatvfs@openssh.com", h(7))(dir),
		once2("hardlink@openssh.com", "none", "other")(dir),
		once2("fsync@openssh.com", h(7))(dir),
		once2("lsetstat@openssh.com", "none", attributes{flags: attrOwner})(dir),
		once2("expand-path@openssh.com", "~/file")(dir),
		once2("copy-data", h(7), uint64(0), uint64(1), h(8), uint64(0))(dir),
		once2("home-directory", "none")(dir),
		once2("users-groups-by-id@openssh.com", h(0), h(0))(dir),
	}
}

// TestMalformed truncates each request at each length, extends it, and gives each string a length
// beyond the message. It checks that the server ends where OpenSSH's does, and that no file has
// changed.
func TestMalformed(t *testing.T) {
	t.Parallel()
	server := program(t)
	who := accounts()[0]
	var cases [][]byte
	for _, sample := range samples("") {
		message := sample[4:]
		for n := 1; n < len(message); n++ {
			if message[0] == fxpExtended && n > 9 && n < 9+int(message[8]) {
				continue // within the extension's name
			}
			cases = append(cases, frame(message[:n]))
		}
		cases = append(cases, frame(append(bytes.Clone(message), "more"...)))
	}
	for _, name := range []string{"file\x00x", "\x00file", "\x00\x00"} {
		cases = append(cases, once(fxpStat, name)(""), once(fxpRename, "file", name)(""), once2("home-directory", name)(""), once2(name)(""))
	}
	cases = append(cases,
		[]byte{0, 0, 0, 0, 1}, []byte{0, 4, 0, 1, fxpStat}, []byte{0xff, 0xff, 0xff, 0xff, 1},
		once(fxpOpen, "file", openRead, sshwire.AppendUint32(sshwire.AppendUint32(nil, attrExtended), 1<<32-1))(""),
		once2("users-groups-by-id@openssh.com", "12345", "")(""), once2("users-groups-by-id@openssh.com", "", "123")(""))
	ours, theirs := twins(t, who)
	p := begin(t, server, who)
	for i, c := range cases {
		a, b := takes(t, ours, who, server, c), takes(t, theirs, who, openssh, c)
		if a != b {
			t.Errorf("%d: %.80x: keyway is content: %v, OpenSSH: %v", i, c, a, b)
		}
		if a && b {
			p.same(fmt.Sprintf("message %d", i), func(string) []byte { return c })
		}
	}
	for kind := range 256 {
		ask := once(byte(kind), 0, 0, 0, 0, 0, 0, 0, 0)
		if requests[kind] != nil || kind == fxpInit || kind == fxpExtended {
			p.same(fmt.Sprintf("%d with empty fields", kind), ask)
			continue
		}
		// OpenSSH's server sends no error either. It examines the rest of a read only when more
		// arrives.
		if answers, more := p.ours.ask(ask(ours)); len(answers) != 0 || !more {
			t.Errorf("%d, which is no request: %s", kind, show(answers, ours))
		}
	}
	p.done()
	if tree(t, ours) != tree(t, theirs) {
		t.Error("the trees differ")
	}
}

// takes reports whether a server accepts a message at the end of its input.
func takes(t *testing.T, dir string, who account, server string, message []byte) bool {
	t.Helper()
	p := startPeer(t, dir, who, server)
	if _, more := p.ask(hello(3)(dir)); !more {
		t.Fatal(p.stderr.String())
	}
	if _, err := p.in.Write(message); err != nil {
		t.Fatal(err)
	}
	return p.end()
}

// TestOpenFIFO checks that opening a FIFO does not wait for its other end, as OpenSSH's server
// would.
func TestOpenFIFO(t *testing.T) {
	dir, _ := twins(t, accounts()[0])
	p := startPeer(t, dir, accounts()[0], program(t))
	p.ask(hello(3)(dir))
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for flags := range 8 {
		if answers, more := p.ask(once(fxpOpen, "fifo", flags, attributes{})(dir)); !more || len(answers) != 1 {
			t.Errorf("flags %#x: %s", flags, show(answers, dir))
		}
	}
	if !p.end() {
		t.Error("it was not content")
	}
}

// TestCopyDataFails checks the one answer that differs from OpenSSH's: a copy whose last piece
// could not be written has failed.
func TestCopyDataFails(t *testing.T) {
	dir, _ := twins(t, accounts()[0])
	p := startPeer(t, dir, accounts()[0], program(t))
	p.ask(hello(3)(dir))
	p.ask(once(fxpOpen, "dir/inner", openRead, attributes{})(dir))
	p.ask(once(fxpOpen, "file", openRead, attributes{})(dir))
	answers, _ := p.ask(once2("copy-data", h(0), uint64(0), uint64(10), h(1), uint64(0))(dir))
	if got := show(answers, dir); !strings.Contains(got, "status 2") {
		t.Errorf("a copy into a file that is open for reading only: %s", got)
	}
}

// TestTooManyHandles checks that descriptors are left for the other clients of the process.
func TestTooManyHandles(t *testing.T) {
	dir, _ := twins(t, accounts()[0])
	p := startPeer(t, dir, accounts()[0], program(t))
	p.ask(hello(3)(dir))
	w := &writer{}
	for range maxHandles + 1 {
		w.request(fxpOpen, "file", openRead, attributes{})
	}
	answers, more := p.ask(w.b)
	if !more || len(answers) != maxHandles+1 || answers[maxHandles-1][0] != fxpHandle || answers[maxHandles][0] != fxpStatus {
		t.Fatalf("%d answers, the last %s", len(answers), show(answers[len(answers)-1:], dir))
	}
	p.ask(once(fxpClose, h(17))(dir))
	if answers, _ := p.ask(once(fxpOpendir, "dir")(dir)); answers[0][0] != fxpHandle {
		t.Errorf("after one was closed: %s", show(answers, dir))
	}
}

// FuzzServe checks that a server ends after arbitrary data, and gives no more answers than there
// were requests.
func FuzzServe(f *testing.F) {
	greeting := hello(3)("")
	f.Add(greeting)
	for _, s := range samples("") {
		f.Add(append(bytes.Clone(greeting), s...))
	}
	dir := f.TempDir()
	if err := os.Chdir(dir); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s := &session{ctx: context.Background(), client: &duplex{in: bytes.NewReader(harmless(input))}}
		defer s.closeAll()
		err := s.serve()
		var broken *ProtocolError
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &broken) {
			t.Fatalf("ended by %v", err)
		}
		if cap(s.out) > 64*maxMessage {
			t.Fatalf("%d bytes are kept", cap(s.out))
		}
	})
}

// harmless removes slashes, and dots that lead upwards, so that no request leaves the current
// directory.
func harmless(input []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(input, []byte("/"), []byte("_")), []byte(".."), []byte("__"))
}

type duplex struct{ in io.Reader }

func (d *duplex) Read(p []byte) (int, error)  { return d.in.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return len(p), nil }
