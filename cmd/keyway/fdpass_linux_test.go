package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// socketPair returns the test's end and the proxy's end of a socketpair(2).
func socketPair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "client"), os.NewFile(uintptr(fds[1]), "proxy")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func pipePair(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestWantsDescriptor checks wantsDescriptor with the standard input and output that clients give
// to their proxy command.
func TestWantsDescriptor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		give func(*testing.T) (in, out *os.File)
		want bool
	}{
		"pipes (OpenSSH, Paramiko, plink)": {func(t *testing.T) (*os.File, *os.File) {
			in, _ := pipePair(t)
			_, out := pipePair(t)
			return in, out
		}, false},
		"a socket and a pipe (AsyncSSH)": {func(t *testing.T) (*os.File, *os.File) {
			_, in := socketPair(t)
			_, out := pipePair(t)
			return in, out
		}, false},
		"a pipe and a socket": {func(t *testing.T) (*os.File, *os.File) {
			in, _ := pipePair(t)
			_, out := socketPair(t)
			return in, out
		}, false},
		"a socket each (Node)": {func(t *testing.T) (*os.File, *os.File) {
			_, in := socketPair(t)
			_, out := socketPair(t)
			return in, out
		}, false},
		"one socket, and the client speaks (libssh)": {func(t *testing.T) (*os.File, *os.File) {
			ours, theirs := socketPair(t)
			fmt.Fprint(ours, "SSH-2.0-libssh_0.10.6\r\n")
			return theirs, theirs
		}, false},
		"one socket, and the client has gone": {func(t *testing.T) (*os.File, *os.File) {
			ours, theirs := socketPair(t)
			ours.Close()
			return theirs, theirs
		}, false},
		"one socket, and the client waits": {func(t *testing.T) (*os.File, *os.File) {
			_, theirs := socketPair(t)
			return theirs, theirs
		}, true},
		"one TCP connection (inetd, socat)": {func(t *testing.T) (*os.File, *os.File) {
			f := tcpFile(t)
			return f, f
		}, false},
		"nothing": {func(t *testing.T) (*os.File, *os.File) {
			f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f, f
		}, false},
		"closed": {func(t *testing.T) (*os.File, *os.File) {
			r, w := pipePair(t)
			r.Close()
			w.Close()
			return r, w
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, out := c.give(t)
			if got := wantsDescriptor(in, out); got != c.want {
				t.Errorf("wantsDescriptor is %v, want %v", got, c.want)
			}
		})
	}
}

func tcpFile(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// proofVariable names the file to which TestAsProxyCommand, run by ssh, writes its result.
const proofVariable = "KEYWAY_TEST_PROOF"

func TestAsProxyCommand(t *testing.T) {
	proof := os.Getenv(proofVariable)
	if proof == "" {
		return // it is a ProxyCommand of TestOpenSSHWantsDescriptor
	}
	found := fmt.Sprint(isOpenSSH(), givesPipes(os.Stdin, os.Stdout), wantsDescriptor(os.Stdin, os.Stdout))
	if err := os.WriteFile(proof, []byte(found), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Exit(0)
}

// TestOpenSSHWantsDescriptor checks with this system's ssh that a proxy command recognizes ssh, and
// whether ssh gives it pipes or waits for a descriptor.
func TestOpenSSHWantsDescriptor(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{"yes": "true false true", "no": "true true false"} {
		proof := filepath.Join(t.TempDir(), "proof")
		cmd := exec.Command("ssh", "-F", "none", "-o", "ProxyUseFdpass="+option,
			"-o", fmt.Sprintf("ProxyCommand=%s -test.run=^TestAsProxyCommand$", self), "nowhere", "true")
		cmd.Env = append(os.Environ(), proofVariable+"="+proof)
		out, _ := cmd.CombinedOutput() // the host does not exist: ssh fails
		if got, err := os.ReadFile(proof); err != nil || string(got) != want {
			t.Errorf("ProxyUseFdpass %s: it is ssh, gives pipes, waits for a descriptor: %q, %v, want %q\n%s", option, got, err, want, out)
		}
	}
}
