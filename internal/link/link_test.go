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

// TestDisconnectIsPrintedBySSH checks that a real ssh prints the reason in readable form, although
// it prints bytes that are not ASCII in octal.
func TestDisconnectIsPrintedBySSH(t *testing.T) {
	quoting := complaint{place: "gpu1", hop: "bastion", next: "gpu1", state: sshState{fault: dismissed, said: "it’s late – come back “tomorrow”…"}}
	for err, want := range map[error]string{
		keyway.Errorf(keyway.NotRunning, "the workspace train does not run").Hint("start it: keyway start train"): "the workspace train does not run. Next: start it: keyway start train",
		quoting.inWords(): `bastion, on the route to gpu1, ended the connection; bastion says: "it's late - come back "tomorrow"...". Next: try by hand: ssh -v bastion true if it counts keys`,
		keyway.Errorf(keyway.NeedsAnswer, "the ssh to gpu1 asks for größe: “%s”", "→"):          `the ssh to gpu1 asks for gr??e: "->"`,
		&keyway.Error{Kind: keyway.Other, Host: "gpu1", Message: "Zugriff verweigert – “nein”"}: `gpu1 says: Zugriff verweigert - "nein"`,
	} {
		for _, locale := range []string{"C", "C.UTF-8"} {
			for moment, last := range map[string][]byte{"before the guest": []byte(identification), "after a spare's greeting": greeting()} {
				said := toldSSH(t, locale, append(last, disconnectPacket(err)...))
				if !strings.Contains(said, want) || strings.Contains(said, `\3`) {
					t.Errorf("%s, in %s, ssh says %q, want %q", moment, locale, said, want)
				}
			}
		}
	}
}

// greeting returns what a server sends before its client has sent anything: its identification and
// its algorithms (RFC 4253 section 7.1).
func greeting() []byte {
	payload := append([]byte{msgKexInit}, make([]byte, 16)...)
	for _, names := range []string{
		"curve25519-sha256", "ssh-ed25519", "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", "",
	} {
		payload = appendString(payload, names)
	}
	payload = append(payload, make([]byte, 5)...)
	return append([]byte(identification), packet(payload)...)
}

const msgKexInit = 20

// toldSSH returns the output of a real ssh whose server sends those bytes.
func toldSSH(t *testing.T, locale string, last []byte) string {
	t.Helper()
	l, failed := net.Listen("tcp", "127.0.0.1:0")
	if failed != nil {
		t.Fatal(failed)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, failed := l.Accept(); failed == nil {
			defer conn.Close()
			endBy(conn, last)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ssh := exec.Command("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "k"), "-p", port, "127.0.0.1", "true")
	ssh.Env = append(os.Environ(), "LC_ALL="+locale, "LANG="+locale)
	out, _ := ssh.CombinedOutput()
	l.Close()
	<-done
	return string(out)
}

func TestDisconnectIsBounded(t *testing.T) {
	for n := range 600 {
		body := packed(strings.Repeat("x", n))
		length := int(body[0])<<24 | int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		padding := int(body[4])
		if len(body) != length+4 || len(body)%blockSize != 0 || padding < minPadding || len(body) > 584 {
			t.Fatalf("%d bytes of text: length %d of %d, padding %d", n, length, len(body), padding)
		}
	}
}

// TestWhichLinkIsCurrent checks that a link of another build is replaced, and so is one in fewer
// groups, because the user may have joined docker's group since. A link in more groups is not
// replaced; otherwise two logins would replace each other's.
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
