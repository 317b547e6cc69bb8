package link

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// The reason must reach the person at a real ssh.
func TestDisconnectIsPrintedBySSH(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		sendDisconnect(conn, keyway.Errorf(keyway.NotRunning, "the workspace train does not run").Hint("start it: keyway start train"))
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	out, err := exec.Command("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "k"),
		"-p", port, "127.0.0.1", "true").CombinedOutput()
	if want := "the workspace train does not run. Next: start it: keyway start train"; !strings.Contains(string(out), want) {
		t.Errorf("ssh says %q (%v)", out, err)
	}
	l.Close()
	<-done
}

func TestDisconnectIsBounded(t *testing.T) {
	for n := range 600 {
		packet := disconnectPacket(strings.Repeat("x", n))
		body := packet[len("SSH-2.0-keyway\r\n"):]
		length := int(body[0])<<24 | int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		padding := int(body[4])
		if len(body) != length+4 || len(body)%blockSize != 0 || padding < minPadding || len(packet) > 600 {
			t.Fatalf("%d bytes of text: length %d of %d, padding %d", n, length, len(body), padding)
		}
	}
}

// A link of another build is replaced, and one in fewer groups: somebody was made a member
// of docker's since. One in more groups is not, or two logins would take turns.
func TestWhichLinkIsCurrent(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := Status{Identity: Identity(program), Groups: []int{1000, 27}}
	for _, c := range []struct {
		groups []int
		want   bool
	}{{nil, true}, {[]int{1000}, true}, {[]int{27, 1000}, true}, {[]int{1000, 998}, false}} {
		if got := s.current(program, c.groups); got != c.want {
			t.Errorf("%v for a command in %v", got, c.groups)
		}
	}
	if (Status{Identity: "another", Groups: s.Groups}).current(program, nil) {
		t.Error("a link of another build is current")
	}
}
