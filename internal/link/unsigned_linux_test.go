package link

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// signer is an agent that lists its keys at once. sign is called before it signs.
type signer struct {
	agent.Agent
	conn net.Conn
	sign func(net.Conn) (*ssh.Signature, error)
}

func (s signer) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	if signature, err := s.sign(s.conn); signature != nil || err != nil {
		return signature, err
	}
	return s.Agent.Sign(key, data)
}

// agentWith starts an agent with the user's key, and removes the key's file.
func (i *inn) agentWith(sign func(net.Conn) (*ssh.Signature, error)) {
	i.t.Helper()
	file := filepath.Join(i.dir, "id")
	pem, err := os.ReadFile(file)
	if err != nil {
		i.t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(pem)
	if err != nil {
		i.t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := errors.Join(keys.Add(agent.AddedKey{PrivateKey: key, Comment: "ada laptop"}), os.Remove(file)); err != nil {
		i.t.Fatal(err)
	}
	path := filepath.Join(i.dir, "agent.sock")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		i.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		_ = unixsock.AcceptEach(l, func(conn net.Conn) {
			all.Go(func() {
				defer conn.Close()
				_ = agent.ServeAgent(signer{keys, conn, sign}, conn)
			})
		})
	})
	i.t.Cleanup(func() { l.Close(); all.Wait() })
	i.t.Setenv("SSH_AUTH_SOCK", path)
}

// twoHops returns a machine where gpu1 is behind a bastion.
func twoHops(t *testing.T) *inn {
	t.Helper()
	i := newInn(t)
	i.sshd("bastion", "")
	i.sshd("gpu1", "", "ProxyJump bastion")
	i.everywhere()
	return i
}

// TestAnAgentThatDoesNotSign checks the error if an agent lists its keys and does not sign: it
// names the host, the key, the reason and the next step.
func TestAnAgentThatDoesNotSign(t *testing.T) {
	for name, sign := range map[string]func(net.Conn) (*ssh.Signature, error){
		"it refuses":          func(net.Conn) (*ssh.Signature, error) { return nil, errors.New("no") },
		"it vanishes":         func(conn net.Conn) (*ssh.Signature, error) { return nil, conn.Close() },
		"it answers nonsense": func(net.Conn) (*ssh.Signature, error) { return &ssh.Signature{Format: "x"}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			i := twoHops(t)
			i.agentWith(sign)
			e := i.fails("gpu1")
			if e.Kind != keyway.Denied || !strings.HasPrefix(e.Message, `bastion, on the route to gpu1, takes the key, but ssh got no signature with it for the login: ED25519 "`) ||
				!strings.Contains(e.Help(), string(keyway.WhyUnsigned)) {
				t.Errorf("%s: %s\n%s", e.Kind, e.Message, e.Help())
			}
		})
	}
}

// TestAnAgentThatAsksForConfirmation checks that a command that waits for a signature reports that, and
// continues when the agent has signed.
func TestAnAgentThatAsksForConfirmation(t *testing.T) {
	i := twoHops(t)
	leave := make(chan struct{})
	i.agentWith(func(net.Conn) (*ssh.Signature, error) { <-leave; return nil, nil })
	said := make(chan string, 1)
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	p, err := i.dialWith(ctx, "gpu1", "", func(d *sshRun) {
		go func() { // ends with the dial, which waits for the signature
			for ctx.Err() == nil && stepOf(d.route()[0].own()) != signing {
				time.Sleep(5 * time.Millisecond)
			}
			said <- d.stage("gpu1")
			close(leave)
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	if stage := <-said; !strings.HasPrefix(stage, "the login to bastion waits for a signature, or for bastion to accept it: is there a window") {
		t.Errorf("while it asks: %s", stage)
	}
}
