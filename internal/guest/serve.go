//go:build linux

package guest

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/unixsock"
)

// partOfCPUs is the part of the machine's CPUs that the server uses at once, at
// least one. It is what moves bytes for programs, which need the others; and
// goroutines that wake each other across CPUs cost a third more time than on one.
const partOfCPUs = 4

// serveMain serves SSH until it is told to end.
func serveMain(home keyway.Home, _ []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	surviveBrokenPipes()
	// Every packet is an allocation in x/crypto. Over a heap as small as this one
	// the default would collect hundreds of times a second: a quarter of the CPU
	// time of an upload. What this lets grow is given back when nobody is left.
	debug.SetGCPercent(400)
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/partOfCPUs))
	log := &logger{os.Stderr}
	account := newAccount(processFacts(home))
	if err := os.Chdir(account.Start); err != nil {
		log.warn("sftp will not begin where commands do", "error", err)
	}
	if err := serve(ctx, home, account, log); err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}

// surviveBrokenPipes keeps the process alive when whoever reads its log goes
// away. Ignoring the signal instead would be inherited by every program.
func surviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// serve binds the workspace's sockets, says that it is ready and serves.
func serve(ctx context.Context, home keyway.Home, account Account, log *logger) error {
	key, err := loadHostKey(home)
	if err != nil {
		return err
	}
	agent, err := unixsock.Listen(home.AgentSocket(), 0o600)
	if err != nil {
		return err
	}
	defer agent.Close()
	l, err := listenReplacing(home.Socket())
	if err != nil {
		return err
	}
	defer l.Close()
	linkNames(home)
	if err := announce(home, account, key.PublicKey()); err != nil {
		return err
	}
	if err := session.Renew(home, ownProgram(home)); err != nil {
		log.warn("sessions that were started by another version stay with it", "error", err)
	}
	session.ReleaseMemory()
	log.info("serving", "user", account.Name, "shell", account.Shell, "start", account.Start)
	return newServer(home, account, os.Environ(), key, log).Serve(ctx, l, agent)
}

// listenReplacing binds a socket beside path and moves it there, so that there
// is no moment without a socket when a predecessor's is still in place. Everyone
// may connect: the directory above keeps strangers out, and SSH the rest.
func listenReplacing(path string) (net.Listener, error) {
	beside := path + ".new"
	l, err := unixsock.Listen(beside, 0o666)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(beside, path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// linkNames puts the program's other names beside it where the engine has not
// and the directory can be written.
func linkNames(home keyway.Home) {
	for _, name := range []string{nameSession, nameSCP} {
		_ = os.Symlink(keyway.GuestProgram, filepath.Join(home.Bin(), name))
	}
}

// announce writes guest.json, which says that the guest is ready.
func announce(home keyway.Home, account Account, key ssh.PublicKey) error {
	info := keyway.GuestInfo{
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
		User:    account.Name,
		UID:     account.UID,
		Home:    account.Home,
		Shell:   account.Shell,
		Version: keyway.Version,
		PID:     os.Getpid(),
	}
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return keyway.WriteFile(home.Info(), append(data, '\n'), 0o644)
}
