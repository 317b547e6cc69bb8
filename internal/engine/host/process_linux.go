package host

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

const (
	lockFile = "init.lock" // held by init while it lives; contains its pid
	logFile  = "init.log"  // output of init and of the workspace's command
)

// alive reports whether the workspace's first process lives.
func alive(home keyway.Home) bool {
	root, err := os.OpenRoot(string(home))
	if err != nil {
		return false
	}
	defer root.Close()
	held, err := engine.Held(root, lockFile)
	return err == nil && held
}

// initProcess is a first process that was started here.
type initProcess struct {
	log   *initLog
	ended <-chan struct{} // closed when it has ended
}

// startInit starts the workspace's first process. Once its GPUs are bound to it, it is given its
// host key. It is in a process session of its own and has none of this process's descriptors, so it
// outlives the node and the ssh that started the node. scope is the start of its command, inner the
// name by which the process knows its Home.
func startInit(scope []string, home, inner keyway.Home, s keyway.Spec, key []byte, gpus *gpu.Grant) (*initProcess, error) {
	in, give, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer give.Close() // without a key, the process ends
	log, err := openLog(home)
	if err != nil {
		return nil, err
	}
	args := append(slices.Clone(scope), home.Program(), "init", "--home", string(inner))
	if len(s.Command) > 0 {
		args = append(append(args, "--"), s.Command...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = environment(os.Environ(), inner, s, gpus)
	cmd.Dir = workdir(s)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, log.file, log.file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting the guest: %w", err)
	}
	// Nothing waits for this goroutine: the process lives as long as the workspace, longer than
	// this engine, and only its parent can collect its exit status.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	p := &initProcess{log: log, ended: ended}
	if err := gpus.Bind(cmd.Process.Pid); err != nil {
		log.Close()
		return nil, err
	}
	// The write fails if the process has ended; its log says why.
	if _, err := give.Write(key); err != nil && !errors.Is(err, syscall.EPIPE) {
		log.Close()
		return nil, err
	}
	return p, nil
}

func workdir(s keyway.Spec) string {
	if s.Workdir != "" {
		return s.Workdir
	}
	if dir, err := os.UserHomeDir(); err == nil {
		return dir
	}
	return "/"
}

// A workspace must not know the connection or terminal of its creator: those end, and the files
// that they point to with them.
var (
	passingPrefixes = []string{"SSH_", "KEYWAY_", "XDG_SESSION_", "LISTEN_"}
	passing         = []string{
		"TERM", "COLORTERM", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "TMUX", "TMUX_PANE", "STY", "WINDOW",
		"XDG_VTNR", "XDG_SEAT", "DBUS_SESSION_BUS_ADDRESS", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET",
		"SHLVL", "PWD", "OLDPWD", "_",
	}
)

func passes(kv string) bool {
	key, _, _ := strings.Cut(kv, "=")
	return slices.Contains(passing, key) ||
		slices.ContainsFunc(passingPrefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// environment returns the variables of a login here, without those of one connection, and with
// those that the workspace requests.
func environment(base []string, home keyway.Home, s keyway.Spec, gpus *gpu.Grant) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return passes(kv) || slices.Contains(s.Unset, name)
	})
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, k+"="+s.Env[k])
	}
	if gpus != nil {
		env = append(env, visibleDevices+"="+strings.Join(gpus.UUIDs(), ","))
	}
	return append(env, keyway.EnvHome+"="+string(home), keyway.EnvName+"="+string(s.Name))
}

// initLog is the log of init, and the offset at which the last start begins.
type initLog struct {
	file *os.File
	from int64
}

// maxLog is the size in bytes above which a new start begins a new log.
const maxLog = 16 << 20

func openLog(home keyway.Home) (*initLog, error) {
	path := filepath.Join(string(home), logFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > maxLog {
		if err = f.Truncate(0); err == nil {
			st, err = f.Stat()
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &initLog{file: f, from: st.Size()}, nil
}

func (l *initLog) Close() error { return l.file.Close() }

// maxTail bounds the bytes of a log that go into an error.
const maxTail = 2 << 10

// tail returns the end of the output since the start.
func (l *initLog) tail() string {
	st, err := l.file.Stat()
	if err != nil {
		return ""
	}
	from := max(l.from, st.Size()-maxTail)
	data, err := io.ReadAll(io.NewSectionReader(l.file, from, maxTail))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(data), "?"))
}

// Times, besides the grace of the programs, for init to end the workspace's processes, and then for
// the kernel to end killed ones.
const (
	endTimeout  = 15 * time.Second
	killTimeout = 5 * time.Second
	endPoll     = 5 * time.Millisecond
)

// endNow ends all processes of the workspace without a grace.
func endNow(home keyway.Home) error {
	_ = sayGrace(home, 0) // an init that does not hear of it takes longer
	return end(home, 0)
}

// end ends all processes of the workspace: first init, which ends the others in order, then the
// rest. It takes no context: half an end would leave a workspace that is neither running nor
// stopped. init has the grace from sayGrace.
func end(home keyway.Home, grace time.Duration) error {
	asked := false
	for deadline := time.Now().Add(grace + endTimeout); alive(home) && time.Now().Before(deadline); {
		if !asked {
			// The lock may be held before the file has the pid.
			asked = terminate(home)
		}
		time.Sleep(endPoll)
	}
	return killAll(home)
}

// sayGrace tells init the grace period for programs. Without it, they get the default one.
func sayGrace(home keyway.Home, grace time.Duration) error {
	return keyway.WriteFile(home.GraceFile(), keyway.GraceText(grace), 0o600)
}

// terminate asks init to end, and reports whether it could. The pid is valid only while init holds
// its lock. So the process is pinned (os.Process is a pidfd) before the lock is checked again.
func terminate(home keyway.Home) bool {
	pid, err := initPID(home)
	if err != nil {
		return false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return alive(home) && p.Signal(syscall.SIGTERM) == nil
}

func initPID(home keyway.Home) (int, error) {
	root, err := os.OpenRoot(string(home))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	f, err := engine.OpenIn(root, lockFile)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s holds no process id: %q", lockFile, data)
	}
	return pid, nil
}

// killAll kills every process of this user that belongs to the workspace, until none is left. That
// includes processes that init does not know (it was killed, or they changed their parent) and
// processes that start meanwhile.
func killAll(home keyway.Home) error {
	for deadline := time.Now().Add(killTimeout); ; time.Sleep(endPoll) {
		left := members(home)
		if len(left) == 0 && !alive(home) {
			return nil
		}
		if time.Now().After(deadline) {
			return keyway.Errorf(keyway.Other, "processes of the workspace do not end: %v", left).
				Hint("see what they wait for: ps -o pid,stat,wchan,cmd -p %s", joinInts(left))
		}
		for _, pid := range left {
			kill(pid, home)
		}
	}
}

// kill kills the process, if it still belongs to the workspace once it is pinned.
func kill(pid int, home keyway.Home) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer p.Release()
	if isMember(pid, home) {
		_ = p.Kill()
	}
}

// members returns the living processes of this user whose environment names home.
func members(home keyway.Home) []int {
	var pids []int
	for _, pid := range proctree.PIDs() {
		if pid != os.Getpid() && isMember(pid, home) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isMember reads the environment that the process was started with. The kernel shows it only to the
// process's own user and root, and not for a zombie.
func isMember(pid int, home keyway.Home) bool {
	if uid, ok := proctree.Owner(pid); !ok || uid != os.Getuid() {
		return false
	}
	env, err := proctree.Environment(pid)
	return err == nil && slices.ContainsFunc(env, func(kv string) bool {
		name, ok := strings.CutPrefix(kv, keyway.EnvHome+"=")
		return ok && isNamed(name, home)
	})
}

func joinInts(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}
