//go:build linux

package openssh

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Words that this program is started with in the place of a test.
const (
	relayWord  = "relay"
	filterWord = "filter"
)

// relayMain serves a port until SIGTERM, as sshd does: relay PIDFILE PORT SOCKET.
func relayMain(args []string) int {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.Remove(args[0])
	if err := os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return 1
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() { // ends with the program, as its connections do
		<-end
		l.Close()
	}()
	for {
		client, err := l.Accept()
		if err != nil {
			return 0
		}
		go relay(client.(*net.TCPConn), args[2])
	}
}

func relay(client *net.TCPConn, socket string) {
	defer client.Close()
	guest, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer guest.Close()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(guest, client)
		_ = guest.(*net.UnixConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(client, guest)
		_ = client.CloseWrite()
	})
	both.Wait()
}

// requestNames are SFTP's requests as sftp-server's options name them.
var requestNames = map[byte]string{
	3: "open", 4: "close", 5: "read", 6: "write", 7: "lstat", 8: "fstat", 9: "setstat", 10: "fsetstat", 11: "opendir", 12: "readdir",
	13: "remove", 14: "mkdir", 15: "rmdir", 16: "realpath", 17: "stat", 18: "rename", 19: "readlink", 20: "symlink",
}

// reading are the requests that a read-only server answers.
var reading = []string{
	"close", "read", "lstat", "fstat", "opendir", "readdir", "realpath", "stat", "readlink", "statvfs", "fstatvfs", "limits", "expand-path",
	"home-directory", "users-groups-by-id",
}

// filterMain acts as sftp-server with another server behind it. It refuses the requests that its
// options -R, -p and -P exclude, and passes the others on. filter OPTION… behind COMMAND…
func filterMain(args []string) int {
	at := slices.Index(args, "behind")
	permitted := permits(args[:at])
	server := exec.Command(args[at+1], args[at+2:]...)
	server.Stderr = os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		return 1
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return 1
	}
	if err := server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	answers := &whole{w: os.Stdout}
	var done sync.WaitGroup
	done.Go(func() {
		for m := range messages(out) {
			answers.send(m)
		}
	})
	for m := range messages(os.Stdin) {
		if len(m) < 5 || permitted(m) {
			_, _ = in.Write(framed(m))
			continue
		}
		refusal := append([]byte{101}, m[1:5]...)
		answers.send(append(refusal, 0, 0, 0, 3, 0, 0, 0, 17, 'P', 'e', 'r', 'm', 'i', 's', 's', 'i', 'o', 'n', ' ', 'd', 'e', 'n', 'i', 'e', 'd', 0, 0, 0, 0))
	}
	in.Close()
	done.Wait()
	_ = server.Wait()
	return server.ProcessState.ExitCode()
}

// permits returns the requests that sftp-server's options permit.
func permits(options []string) func(message []byte) bool {
	readOnly, allowed, denied := false, []string(nil), []string(nil)
	for i, o := range options {
		switch {
		case o == "-R":
			readOnly = true
		case o == "-p" && i+1 < len(options):
			allowed = strings.Split(options[i+1], ",")
		case o == "-P" && i+1 < len(options):
			denied = strings.Split(options[i+1], ",")
		}
	}
	return func(m []byte) bool {
		name := nameOf(m)
		switch {
		case name == "": // the version, and unknown requests
			return true
		case readOnly && name == "open":
			return !opensToWrite(m)
		case readOnly:
			return slices.Contains(reading, name)
		case slices.Contains(denied, name):
			return false
		}
		return allowed == nil || slices.Contains(allowed, name)
	}
}

func nameOf(m []byte) string {
	if m[0] != 200 || len(m) < 9 {
		return requestNames[m[0]]
	}
	n := binary.BigEndian.Uint32(m[5:])
	return string(bytes.TrimSuffix(m[9:9+n], []byte("@openssh.com")))
}

// opensToWrite reports whether an OPEN changes anything.
func opensToWrite(m []byte) bool {
	n := binary.BigEndian.Uint32(m[5:])
	return binary.BigEndian.Uint32(m[9+n:])&^1 != 0
}

// messages returns the messages of r, without their lengths.
func messages(r io.Reader) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			var size [4]byte
			if _, err := io.ReadFull(r, size[:]); err != nil {
				return
			}
			m := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(r, m); err != nil || !yield(m) {
				return
			}
		}
	}
}

func framed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
}

// whole writes one message at a time.
type whole struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *whole) send(m []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.w.Write(framed(m))
}
