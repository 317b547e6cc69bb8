//go:build linux

package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/session/holder"
)

// The server uses the machine's CPUs divided by partOfCPUs, at least one. It moves bytes
// for programs, and they need the other CPUs; goroutines that wake each other across CPUs
// also cost a third more time than on one.
const partOfCPUs = 4

// serveMain serves SSH until it is told to end.
func serveMain(home keyway.Home, rest []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := &logger{os.Stderr}
	// The kernel names a process after its file, which was /proc/self/exe.
	_ = os.WriteFile("/proc/self/comm", []byte(keyway.GuestProgram), 0)
	if err := concealMemory(home); err != nil {
		log.warn("the server's memory is not closed to other processes", "error", err)
	}
	surviveBrokenPipes()
	// x/crypto allocates each packet. With a heap as small as this one, the default would
	// collect hundreds of times a second and take a quarter of the CPU time of an upload.
	// Memory is given back when no connection is left.
	debug.SetGCPercent(400)
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/partOfCPUs))
	account := newAccount(processFacts(home))
	if err := os.Chdir(account.Start); err != nil {
		log.warn("sftp will not begin where commands do", "error", err)
	}
	if err := serve(ctx, home, account, log, len(rest) > 0); err != nil {
		return fail(os.Stderr, err)
	}
	return 0
}

// surviveBrokenPipes keeps the process alive when the reader of its log goes away. Every
// program would inherit it if the signal were ignored instead.
func surviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Descriptors that the first process passes to the server, from 3 on.
const (
	fdKeySigner = 3 + iota
	fdSSH
	fdAgent
	fdTCP
)

// onNetwork is the argument that announces a listening socket on the network.
const onNetwork = "network"

// inherited are the descriptors that the first process passes to the server.
type inherited struct {
	keySigner  net.Conn
	ssh, agent net.Listener
	tcp        net.Listener // nil: none
}

func inherit(network bool) (in inherited, err error) {
	keep := os.NewFile(fdKeySigner, "keeper")
	defer keep.Close()
	if in.keySigner, err = net.FileConn(keep); err != nil {
		return in, fmt.Errorf("the server is started by the first process only: %w", err)
	}
	if in.ssh, err = fileListener(fdSSH); err == nil {
		in.agent, err = fileListener(fdAgent)
	}
	if err == nil && network {
		in.tcp, err = fileListener(fdTCP)
	}
	return in, err
}

func fileListener(fd uintptr) (net.Listener, error) {
	f := os.NewFile(fd, "socket")
	defer f.Close()
	return net.FileListener(f)
}

// serve announces that the guest is ready, and serves.
func serve(ctx context.Context, home keyway.Home, account Account, log *logger, network bool) error {
	in, err := inherit(network)
	if err != nil {
		return err
	}
	kept, err := keptAt(in.keySigner)
	if err != nil {
		return err
	}
	key, err := newHostKey(kept)
	if err != nil {
		return err
	}
	linkNames(home)
	if err := announce(home, account); err != nil {
		return err
	}
	if err := holder.Renew(home, ownProgram(home)); err != nil {
		log.warn("sessions that were started by another version stay with it", "error", err)
	}
	if err := kept.ready(); err != nil {
		return err
	}
	memory.Release()
	log.info("serving", "user", account.Name, "shell", account.Shell, "start", account.Start)
	ssh := &ownListener{Listener: in.ssh, owners: ownersOf(home), log: log}
	agent := &ownListener{Listener: in.agent, owners: owners{uint32(os.Getuid()), 0}, log: log}
	server := newServer(home, account, os.Environ(), key, log)
	server.network = in.tcp
	return server.Serve(ctx, ssh, agent)
}

// linkNames links the program's other names beside it, if the engine has not done so and
// the directory is writable.
func linkNames(home keyway.Home) {
	for _, name := range []string{keyway.SessionLink, keyway.CopyLink} {
		_ = os.Symlink(keyway.GuestProgram, filepath.Join(home.Bin(), name))
	}
}

// announce writes guest.json, which says that the guest is ready.
func announce(home keyway.Home, account Account) error {
	info := keyway.GuestInfo{
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
