package agentd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/agent"
	"keyway/internal/audit"
)

// renewSignal has the agent become the program that lies where its own lay: after
// an upgrade, with all its keys, and in the same process.
var renewSignal os.Signal = syscall.SIGUSR2

const (
	maxHeirloom  = 64 << 20 // bytes of state
	maxHeader    = 1 << 17  // bytes of what comes before it
	triesProgram = 10 * time.Second
)

// envHeirloom names the descriptor at which a renewed agent finds what it goes on
// with.
const envHeirloom = "KEYWAY_AGENT_HEIRLOOM"

// Renewed reports whether an agent of an older program has become this process.
func Renewed() bool { return os.Getenv(envHeirloom) != "" }

// HardenRenewed hardens such a process, which is to be done before all else: Run refuses
// one that was traced.
func HardenRenewed() {
	if Renewed() {
		_ = agent.HardenProcess()
	}
}

// heirloom is what a renewed agent finds. The keys are in a sealed memory file that
// waits in the socket as a message: in the moment between exec and HardenProcess
// other programs of the user could open every descriptor of ours through /proc, but
// not one that we have yet to receive.
type heirloom struct {
	Path, Forward string
	Kept          bool
	Listeners     []int
	Conns         []int

	state []byte
	conns []net.Conn
}

// renew becomes the program. It returns only if that fails.
func (s *setup) renew(a *agent.Agent, sockets *socketSet) error {
	state, conns, err := a.HandOver()
	defer clear(state)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	listeners, err := sockets.files()
	defer closeAll(listeners)
	if err != nil {
		return err
	}
	h := heirloom{Path: sockets.path, Forward: sockets.forward, Kept: sockets.kept}
	if h.Listeners, err = keepOpen(listeners); err != nil {
		return err
	}
	if h.Conns, err = keepOpen(conns); err != nil {
		return err
	}
	waiting, err := h.bequeath(state)
	if err != nil {
		return err
	}
	defer waiting.Close()
	kept, err := keepOpen([]*os.File{waiting})
	if err != nil {
		return err
	}
	return syscall.Exec(s.program, os.Args, append(os.Environ(), envHeirloom+"="+strconv.Itoa(kept[0])))
}

// keepOpen keeps descriptors over an exec, and gives their numbers.
func keepOpen(files []*os.File) ([]int, error) {
	numbers := []int{}
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		var errSet error
		err = raw.Control(func(fd uintptr) {
			numbers = append(numbers, int(fd))
			_, errSet = unix.FcntlInt(fd, unix.F_SETFD, 0)
		})
		if err = errors.Join(err, errSet); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// bequeath puts the state into a socket and gives the end to read it from.
func (h heirloom) bequeath(state []byte) (*os.File, error) {
	memory, err := unix.MemfdCreate("keyway", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(memory), "state")
	defer file.Close()
	if _, err := file.Write(state); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(memory), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	from, to := os.NewFile(uintptr(pair[0]), "from"), os.NewFile(uintptr(pair[1]), "to")
	defer from.Close()
	header, err := json.Marshal(h)
	if err == nil {
		err = unix.Sendmsg(pair[0], header, unix.UnixRights(memory), nil, 0)
	}
	if err != nil {
		to.Close()
		return nil, err
	}
	return to, nil
}

// inherit gives what a renewed agent finds; nil: this is none. Nobody may trace the
// process by then.
func inherit() (*heirloom, error) {
	number, err := strconv.Atoi(os.Getenv(envHeirloom))
	if err != nil {
		return nil, nil
	}
	_ = os.Unsetenv(envHeirloom)
	if err := agent.HardenProcess(); err != nil {
		return nil, err
	}
	waiting := os.NewFile(uintptr(number), "heirloom")
	if waiting == nil {
		return nil, errors.New("the keys are not where they should be")
	}
	defer waiting.Close()
	if traced() {
		return nil, errors.New("another program traces this one")
	}
	return receive(number)
}

func traced() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err != nil || !strings.Contains(string(status), "\nTracerPid:\t0\n")
}

func receive(socket int) (*heirloom, error) {
	header, rights := make([]byte, maxHeader), make([]byte, unix.CmsgSpace(4))
	n, nr, _, _, err := unix.Recvmsg(socket, header, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:nr])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("no keys came with the message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	memory := os.NewFile(uintptr(fds[0]), "state")
	defer memory.Close()
	h := &heirloom{}
	if err := json.Unmarshal(header[:n], h); err != nil {
		return nil, err
	}
	info, err := memory.Stat()
	if err != nil || info.Size() > maxHeirloom {
		return nil, errors.New("the state has a wrong size")
	}
	h.state = make([]byte, info.Size())
	if _, err := memory.ReadAt(h.state, 0); err != nil {
		return nil, err
	}
	for _, fd := range h.Conns {
		f := os.NewFile(uintptr(fd), "connection")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		h.conns = append(h.conns, conn)
	}
	return h, nil
}

// sockets are those of the agent before.
func (h *heirloom) sockets() (*socketSet, error) {
	s := &socketSet{path: h.Path, forward: h.Forward, kept: h.Kept}
	for _, fd := range h.Listeners {
		if err := s.inherited(uintptr(fd), []string{h.Path}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// renewable says why the agent must not become the program, or nil. A program that
// its user could replace would be a way for any other of the user's to the keys.
func (s *setup) renewable(ctx context.Context) error {
	if !s.renewAny {
		if err := ownedByRoot(s.program); err != nil {
			return err
		}
	}
	if err := s.checkPolicy(); err != nil {
		return fmt.Errorf("a new agent would not start: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, triesProgram)
	defer cancel()
	if err := exec.CommandContext(ctx, s.program, "agent", "--help").Run(); err != nil {
		return fmt.Errorf("%s does not run: %w", s.program, err)
	}
	return nil
}

// ownedByRoot says whether nobody but root can change what lies at path.
func ownedByRoot(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for p := path; ; p = filepath.Dir(p) {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			return err
		}
		sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0
		if st.Uid != 0 || st.Mode&0o022 != 0 && !sticky {
			return fmt.Errorf("others than root can change %s: start the agent with -O renew=any to have it renewed all the same", p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// renewOnSignal freezes the agent for each signal that can be followed.
func (s *setup) renewOnSignal(ctx context.Context, a *agent.Agent, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		if err := s.renewable(ctx); err != nil {
			s.notRenewed(err)
			continue
		}
		if a.AwaitQuiet(ctx) {
			a.Freeze()
			return
		}
	}
}

func (s *setup) notRenewed(err error) {
	_ = s.log.Append(audit.Event{Event: "renew", Verdict: "failed", Reason: err.Error()})
}
