//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/lobby"
	"keyway/internal/memory"
	"keyway/internal/stream"
	"keyway/internal/unixsock"
)

// Bounds on clients. Strangers have not authenticated yet. Authenticated clients may use up
// the workspace, but must not do so by accident.
const (
	maxStrangers = 64   // connections that have not authenticated; one more replaces one of them
	maxAuthTries = 1024 // keys that a client asks about; a wrong signature ends the connection at once
	maxChannels  = 1024 // open at once on one connection
	maxListeners = 64   // remote forwardings on one connection

	// identTimeout is the time that a client has to send its version of SSH: that needs no
	// person.
	identTimeout = 10 * time.Second

	// A login may wait for a person to touch a hardware key, and its stream may stall while
	// a laptop changes networks. A spare stream may have waited for its ssh before that
	// (internal/link, spareTime).
	handshakeTimeout = 3 * time.Minute
)

// serverVersion begins with OpenSSH and a number because clients use OpenSSH's extensions only with
// such a server. OpenSSH's own clients report only to it that their output has lost its reader
// (eow@openssh.com). Without that, `ssh train cat log | head` would run until all of the log has
// been sent. npm's ssh2 uses unix sockets of the other side only if the number is 5 or more. There
// is no minor number: with one, clients would work around the faults of that version.
const serverVersion = "SSH-2.0-OpenSSH_9_compatible keyway"

// Server is the SSH server of one workspace.
type Server struct {
	home      keyway.Home
	account   Account
	env       environment
	login     bool // shells are login shells
	log       *logger
	config    *ssh.ServerConfig
	streams   *stream.Server // nil: SSH only
	gather    time.Duration  // how long packets are held back to leave together
	agent     *agentBroker
	network   net.Listener // of a baked image; nil: none
	strangers *lobby.Lobby // of connections that have not authenticated
	rest      *time.Timer  // gives memory back
}

// newServer makes the server of the workspace in home. Its sessions run as account with the
// variables in environ.
func newServer(home keyway.Home, account Account, environ []string, key *hostKey, log *logger) *Server {
	s := &Server{
		home:    home,
		account: account,
		env:     workspaceEnvironment(environ, home, account),
		// A login shell reads /etc/profile, which on most images overwrites the image's PATH. In a
		// container, users expect the image's environment; on a machine, a login.
		login:     home != keyway.GuestHome,
		log:       log,
		gather:    gatherTime,
		agent:     newAgentBroker(log),
		strangers: lobby.New(maxStrangers),
		rest:      time.AfterFunc(restTime, memory.Release),
	}
	s.config = s.newConfig(key)
	s.streams, _ = stream.NewServer(stream.ServerConfig{HostKey: key.streams, Logger: streamLog{log}})
	return s
}

func (s *Server) newConfig(hostKey ssh.Signer) *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{
				ssh.KeyExchangeMLKEM768X25519,
				ssh.KeyExchangeCurve25519, // with its older name, curve25519-sha256@libssh.org
				ssh.KeyExchangeDH16SHA512, // for clients without elliptic curves
			},
			// AES-GCM is over twice as fast as ChaCha20 where the CPU helps.
			Ciphers: []string{
				ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
				ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
			},
			MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
			// Clients change keys after 1 to 64 GiB. If the guest began a change while
			// bytes flow both ways and a channel ends, the library could hang: its reading
			// goroutine answers the end of the channel, behind 64 packets
			// (maxPendingPackets) that wait for the new keys. So the guest begins last, as
			// RFC 4344 allows for AES. ChaCha20 has no bound on bytes, and the library's
			// bound on packets remains.
			RekeyThreshold: 64 << 30,
		},
		PublicKeyAuthAlgorithms:   ssh.SupportedAlgorithms().PublicKeyAuths,
		MaxAuthTries:              maxAuthTries,
		ServerVersion:             serverVersion,
		PublicKeyCallback:         s.mayEnter,
		VerifiedPublicKeyCallback: s.entered,
	}
	config.AddHostKey(hostKey)
	return config
}

// mayEnter reports whether a client that proves to hold key may enter under the user name
// that it sent. It is also called for keys that the client does not prove to hold, so it
// has no side effects.
func (s *Server) mayEnter(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if meta.User() != s.account.Name {
		return nil, fmt.Errorf("the user here is %q, not %q", s.account.Name, meta.User())
	}
	if _, err := findAuthorized(s.home, key); err != nil {
		return nil, fmt.Errorf("%s %s: %w", key.Type(), ssh.FingerprintSHA256(key), err)
	}
	return &ssh.Permissions{}, nil
}

// Names of the entries that a login leaves in its Permissions for the log.
const (
	extKey     = "key@keyway"
	extComment = "comment@keyway"
)

// entered is called once the client has proved to hold key. It checks again: the key may
// have been removed while a person searched for the touch sensor.
func (s *Server) entered(_ ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	known, err := findAuthorized(s.home, key)
	if err != nil {
		return nil, err
	}
	return &ssh.Permissions{Extensions: map[string]string{
		extKey:     key.Type() + " " + ssh.FingerprintSHA256(key),
		extComment: known.comment,
	}}, nil
}

// Serve answers on l and on the agent's socket until ctx ends. It returns when everything
// that it started has ended, except the users' own processes.
func (s *Server) Serve(ctx context.Context, l, agent net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		agent.Close()
	})
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		defer cancel() // a workspace without its agent must be started again
		s.agent.serve(ctx, agent)
	})
	all.Go(func() { s.acceptStreams(ctx, &all) })
	receive := func(conn net.Conn) { all.Go(func() { s.receive(ctx, conn) }) }
	if s.network != nil {
		defer context.AfterFunc(ctx, func() { s.network.Close() })()
		all.Go(func() {
			defer cancel()
			_ = unixsock.AcceptEach(s.network, receive)
		})
	}
	err := unixsock.AcceptEach(l, receive)
	cancel()
	all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// serveConn serves SSH on conn, which holds place in the lobby until its client has logged
// in. It then calls vouch, which may refuse.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, place *lobby.Slot, vouch func() error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer s.rested()
	out := &gatherer{Conn: conn, limit: s.gather}
	login, chans, reqs, err := s.handshake(out, place)
	if err == nil {
		err = vouch()
	}
	switch {
	case isGone(err):
		s.log.info("left", "reason", err)
		return
	case err != nil:
		s.log.warn("refused", "reason", err)
		return
	}
	s.log.info("login", "key", login.Permissions.Extensions[extKey], "comment", login.Permissions.Extensions[extComment],
		"client", string(login.ClientVersion()))
	newConnection(ctx, s, login, out).serve(chans, reqs)
}

// isGone reports whether err means that the client has left: a spare stream that no ssh has
// taken, or a scan of the version.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, stream.ErrReset)
}

// restTime is the time without an ended connection or channel after which memory is given
// back. That takes a few milliseconds.
const restTime = 2 * time.Second

// rested is called when a connection or a channel has ended. A workspace may idle for days
// with a connection that is kept for the next ssh, and would keep the heap of its last
// transfer.
func (s *Server) rested() { s.rest.Reset(restTime) }

// handshake lets the client log in. The connection holds place in the lobby meanwhile.
func (s *Server) handshake(conn net.Conn, place *lobby.Slot) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	defer place.Leave()
	_ = conn.SetDeadline(time.Now().Add(identTimeout))
	client, err := identify(conn)
	if err != nil {
		return nil, nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout)) // the login may wait for a person
	login, chans, reqs, err := ssh.NewServerConn(client, client.offer(s.config))
	if err != nil {
		return nil, nil, nil, err
	}
	return login, chans, reqs, conn.SetDeadline(time.Time{})
}
