//go:build linux

package guest

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// The first process keeps the workspace's host key; the server asks it to sign. So only one
// process has the key, and it runs no other program after it has read the key. A server
// that is started again while the image's programs run has no key that they could steal.
// The two speak over a socket pair that preserves packets, one request and one answer at a
// time:
//
//	K          the public key, 32 bytes
//	S message  its signature, 64 bytes
//	R          no answer: the server serves
const (
	askPublic = 'K'
	askSign   = 'S'
	tellReady = 'R'
)

// maxSigned bounds a message in bytes; SSH signs a hash, streams a transcript.
const maxSigned = 16 << 10

// takeHostKey reads the host key that the node writes to standard input. It then replaces
// standard input by an empty pipe, so that no process started later can read from it.
func takeHostKey() (ed25519.PrivateKey, error) {
	key, err := keyway.ReadHostKey(&patientReader{fd: int(os.Stdin.Fd()), until: time.Now().Add(handOverTimeout)})
	if err != nil {
		return nil, keyway.Errorf(keyway.GuestFailed, "%w", err).Hint("a workspace is started by keyway: keyway start %s", os.Getenv(keyway.EnvName))
	}
	return key, emptyStdin()
}

// handOverTimeout bounds the time until the host key has arrived. The node sends it as soon
// as the platform has started the workspace.
const handOverTimeout = time.Minute

// patientReader reads from a descriptor until a deadline.
type patientReader struct {
	fd    int
	until time.Time
}

func (r *patientReader) Read(p []byte) (int, error) {
	for {
		left := time.Until(r.until)
		if left <= 0 {
			return 0, errors.New("nothing came in time")
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		switch n, err = unix.Read(r.fd, p); {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// emptyStdin makes standard input a pipe without a writer: an image may have no /dev/null.
func emptyStdin() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	return errors.Join(unix.Close(pipe[1]), unix.Dup3(pipe[0], 0, 0))
}

// concealMemory closes this process's memory and descriptors to all other processes of the
// container, including those of its own user and of root, unless they have CAP_SYS_PTRACE
// (prctl(2), PR_SET_DUMPABLE). It does nothing for plain processes, which are not isolated
// from the rest of the machine.
func concealMemory(home keyway.Home) error {
	if home != keyway.GuestHome {
		return nil
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// keySigner signs for servers.
type keySigner struct {
	key ed25519.PrivateKey
}

// serve answers requests until conn ends. It calls ready when the server reports that it
// serves.
func (k keySigner) serve(conn net.Conn, ready func()) {
	packet := make([]byte, maxSigned+2)
	for {
		n, err := conn.Read(packet)
		if err != nil || n == 0 || n > maxSigned+1 {
			return
		}
		switch packet[0] {
		case askPublic:
			_, err = conn.Write(k.key.Public().(ed25519.PublicKey))
		case askSign:
			_, err = conn.Write(ed25519.Sign(k.key, packet[1:n]))
		case tellReady:
			ready()
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

// keptKey is the server's handle on the host key: the first process signs.
type keptKey struct {
	mu     sync.Mutex // for one request and its answer
	conn   net.Conn
	public ed25519.PublicKey
}

var _ crypto.Signer = (*keptKey)(nil)

// keySignerTimeout bounds how long the first process may take to answer.
const keySignerTimeout = 10 * time.Second

// keptAt asks the first process at the other end of conn for its public key.
func keptAt(conn net.Conn) (*keptKey, error) {
	k := &keptKey{conn: conn}
	public, err := k.ask([]byte{askPublic}, ed25519.PublicKeySize)
	k.public = public
	return k, err
}

func (k *keptKey) ask(request []byte, size int) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conn.SetDeadline(time.Now().Add(keySignerTimeout)); err != nil {
		return nil, err
	}
	if _, err := k.conn.Write(request); err != nil {
		return nil, fmt.Errorf("the first process does not listen: %w", err)
	}
	answer := make([]byte, size+1)
	n, err := k.conn.Read(answer)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d", n, size)
	}
	if err != nil {
		return nil, fmt.Errorf("the first process does not answer: %w", err)
	}
	return answer[:size], nil
}

// Public implements crypto.Signer.
func (k *keptKey) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer.
func (k *keptKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 || len(message) > maxSigned {
		return nil, errors.New("the host key signs short messages, not hashes of them")
	}
	return k.ask(append([]byte{askSign}, message...), ed25519.SignatureSize)
}

// ready tells the first process that the server serves.
func (k *keptKey) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err := k.conn.Write([]byte{tellReady})
	return err
}
