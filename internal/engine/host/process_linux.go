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
	lockFile = "init.lock" // held by init while it lives, with its pid in it
	logFile  = "init.log"  // what init and the workspace's command print
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
	ended <-chan struct{} // closed when it has
}

// startInit starts the workspace's first process and hands it its host key, once its
// GPUs are bound to it. It is in a session of its own and has no descriptor of ours,
// so it outlives the node and the ssh that started the node.
// scope begins its command, inner is the name by which the process knows its home.
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
	// Nobody can join this one: the process lives as long as the workspace, that
	// is longer than this engine, and only its parent can take its exit status.
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
	// One that has ended takes none; why it has, its log says.
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

// A workspace must not know of the connection or terminal that its creator
// happened to have: those end, and what they point to with them.
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

// environment is what a login here gives, without what belongs to one
// connection, and with what the workspace asks for.
func environment(base []string, home keyway.Home, s keyway.Spec, gpus *gpu.Grant) []string {
	env := slices.DeleteFunc(slices.Clone(base), passes)
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, k+"="+s.Env[k])
	}
	if gpus != nil {
		env = append(env, visibleDevices+"="+strings.Join(gpus.UUIDs(), ","))
	}
	return append(env, keyway.EnvHome+"="+string(home), keyway.EnvName+"="+string(s.Name))
}

// initLog is the log of init, and where in it the last start begins.
type initLog struct {
	file *os.File
	from int64
}

// maxLog is the size at which a new start begins a new log.
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

// maxTail is how much of a log goes into an error.
const maxTail = 2 << 10

// tail is the end of what was written since the start.
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

// How long init has beside the grace of the programs to end what runs in the workspace,
// and then the kernel to end what was killed.
const (
	endTimeout  = 15 * time.Second
	killTimeout = 5 * time.Second
	endPoll     = 5 * time.Millisecond
)

// end ends all processes of the workspace: first init, which ends the others in
// good order, then whoever is left. It does not heed a context: half an end
// would leave a workspace that is neither running nor stopped.
func end(home keyway.Home, grace time.Duration) error {
	sayGrace(home, grace)
	asked := false
	for deadline := time.Now().Add(grace + endTimeout); alive(home) && time.Now().Before(deadline); {
		if !asked {
			// Its lock may be there before its pid is.
			asked = terminate(home)
		}
		time.Sleep(endPoll)
	}
	return killAll(home)
}

// sayGrace tells init how long programs have; without it they have what they have by
// default.
func sayGrace(home keyway.Home, grace time.Duration) {
	_ = keyway.WriteFile(home.GraceFile(), keyway.GraceText(grace), 0o600)
}

// terminate asks init to end and reports whether it could. The pid is only good as
// long as init holds its lock, so the process is pinned (os.Process is a pidfd)
// before the lock is looked at once more.
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

// killAll kills every process of this user that belongs to the workspace, until
// none is left: the ones that init does not know (it was killed, or they made
// themselves children of somebody else) and the ones born meanwhile.
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

// kill kills the process if it still is one of the workspace once it is pinned.
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

// members are the living processes of this user whose environment names home.
func members(home keyway.Home) []int {
	var pids []int
	for _, pid := range proctree.PIDs() {
		if pid != os.Getpid() && isMember(pid, home) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isMember reads the environment the process was started with. The kernel shows
// it to the process's own user (and to root) only, and none for a zombie.
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
