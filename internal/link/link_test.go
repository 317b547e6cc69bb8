package link

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// What ssh wrote is from OpenSSH 9.2 and 9.9, with names replaced.
func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		name, stderr string
		want         keyway.Kind
		says         string
	}{
		{"no such host", "ssh: Could not resolve hostname gpu1: Name or service not known\r\n", keyway.UnknownPlace, "gpu1"},
		{"refused", "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n", keyway.Unreachable, "Connection refused"},
		{"bastion refused", "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\nConnection closed by UNKNOWN port 65535\r\n", keyway.Unreachable, "10.0.0.1"},
		{"behind the bastion", "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\nConnection closed by UNKNOWN port 65535\r\n", keyway.Unreachable, "jump host answers"},
		{"denied", "root@gpu1: Permission denied (publickey,password).\r\n", keyway.Denied, "publickey"},
		{"too many keys", "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\r\n", keyway.Denied, "too many keys"},
		{"unknown host key", "No ED25519 host key is known for gpu1 and you have requested strict checking.\r\nHost key verification failed.\r\n", keyway.HostKeyUnknown, "not known yet"},
		{"full disk", "gzip: stdout: No space left on device\n", keyway.NoSpace, "full"},
		{"silence", "", keyway.Unreachable, "without a word"},
		{"anything else", "Bad owner or permissions on /root/.ssh/config\r\n", keyway.Unreachable, "Bad owner"},
	} {
		err := diagnose("gpu1", c.stderr, nil)
		if !keyway.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q is %s, want %s and %q in it", c.name, err, keyway.AsError(err).Kind, c.want, c.says)
		}
		if keyway.AsError(err).Next == "" {
			t.Errorf("%s: no next step", c.name)
		}
	}
}

func TestHostKeyChangedNamesBothKeys(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known hosts")
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
	if err := os.WriteFile(known, []byte("# ours\ngpu1 "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	stderr := "@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@@@@@@\r\n" +
		"The fingerprint for the ED25519 key sent by the remote host is\nSHA256:wZ0UOkz3K9DgJXM6Yd1zIE1ofQ2Wwv1YJ4y7n7c3Xo8.\r\n" +
		"Please contact your system administrator.\r\nOffending ED25519 key in " + known + ":2\r\nHost key verification failed.\r\n"
	err = diagnose("gpu1", stderr, nil)
	for _, want := range []string{"SHA256:wZ0UOkz3K9DgJXM6Yd1zIE1ofQ2Wwv1YJ4y7n7c3Xo8,", ssh.FingerprintSHA256(parsed), known + ":2"} {
		if !keyway.Is(err, keyway.HostKeyChanged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

// The goodbye must reach the person at a real ssh.
func TestGoodbyeIsPrintedBySSH(t *testing.T) {
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
		sayGoodbye(conn, keyway.Errorf(keyway.NotRunning, "the workspace train does not run").Hint("start it: keyway start train"))
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

func TestGoodbyeIsBounded(t *testing.T) {
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
