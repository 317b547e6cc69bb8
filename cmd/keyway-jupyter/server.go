//go:build unix

package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// server is a Jupyter server that this program has started or found.
type server struct {
	Kind    string `json:"kind"` // lab, notebook, server or found
	Network string `json:"network"`
	Address string `json:"address"`
	Base    string `json:"base"`
	Token   string `json:"token"`
	Dir     string `json:"dir"`
	PID     int    `json:"pid"`
	cmd     *exec.Cmd
	ours    bool     // started here, by this program or an earlier one
	file    string   // the server's description of itself
	claim   *os.File // that file, locked; nil: not yet
}

// take claims the server for this program. It reports whether the claim has succeeded: it fails if
// a program of another workspace has claimed the server. Two programs that both write the notebooks
// of one server would overwrite each other's work.
func (s *server) take() bool {
	f, err := os.OpenFile(s.file, os.O_RDWR, 0)
	if err != nil {
		return true // no other program can lock it either
	}
	if err := filelock.Try(f, filelock.Exclusive); err != nil {
		_ = f.Close()
		return !errors.Is(err, filelock.ErrLocked)
	}
	s.claim = f
	return true
}

func (s server) dial(ctx context.Context) (net.Conn, error) {
	if s.Network == "unix" {
		return unixsock.Dial(s.Address)
	}
	var d net.Dialer
	return d.DialContext(ctx, s.Network, s.Address)
}

// answers reports whether the server answers as a Jupyter server that knows the token.
func (s server) answers(ctx context.Context) bool {
	t := http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) }, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+s.Base+"api/kernels", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "token "+s.Token)
	resp, err := t.RoundTrip(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// running finds the Jupyter servers of this user by the files that they write, the latest first.
func running() (all []server) {
	files, _ := filepath.Glob(filepath.Join(runtimeDir(), "*server-*.json")) // only fails for a malformed pattern
	type dated struct {
		s  server
		at time.Time
	}
	var found []dated
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || info.Size() > 1<<16 || !mine(info) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if s, ok := readServer(data); ok && alive(s.PID) {
			s.file = path
			found = append(found, dated{s, info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b dated) int { return b.at.Compare(a.at) })
	for _, f := range found {
		all = append(all, f.s)
	}
	return all
}

func runtimeDir() string {
	if d := os.Getenv("JUPYTER_RUNTIME_DIR"); d != "" {
		return d
	}
	if d := os.Getenv("JUPYTER_DATA_DIR"); d != "" {
		return filepath.Join(d, "runtime")
	}
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		base = filepath.Join(os.Getenv("HOME"), ".local", "share")
	}
	return filepath.Join(base, "jupyter", "runtime")
}

// readServer parses the file that a Jupyter server writes about itself. It reports false for a
// server that cannot be connected to, or only with a password.
func readServer(data []byte) (server, bool) {
	var r struct {
		Base     string `json:"base_url"`
		Port     int    `json:"port"`
		Sock     string `json:"sock"`
		Token    string `json:"token"`
		PID      int    `json:"pid"`
		Secure   bool   `json:"secure"`
		Root     string `json:"root_dir"`
		Notebook string `json:"notebook_dir"`
	}
	if json.Unmarshal(data, &r) != nil || r.Secure || r.Token == "" || r.PID < 2 || !strings.HasPrefix(r.Base, "/") || !strings.HasSuffix(r.Base, "/") {
		return server{}, false
	}
	s := server{Kind: "found", Base: r.Base, Token: r.Token, PID: r.PID, Dir: r.Root + r.Notebook}
	switch {
	case filepath.IsAbs(r.Sock):
		s.Network, s.Address = "unix", r.Sock
	case r.Port > 0 && r.Port < 1<<16:
		s.Network, s.Address = "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port))
	default:
		return server{}, false
	}
	return s, true
}

func mine(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// kinds are the Jupyter servers that can be started, best first.
var kinds = []struct{ name, program, module string }{
	{"lab", "jupyter-lab", "jupyterlab"},
	{"notebook", "jupyter-notebook", "notebook"},
	{"server", "jupyter-server", "jupyter_server"},
}

// pick finds the command for a Jupyter server of the wanted kind, or of the best that is
// installed.
func pick(want string) (kind string, argv []string, err error) {
	for _, k := range kinds {
		if want != "" && want != k.name {
			continue
		}
		if path, err := exec.LookPath(k.program); err == nil {
			return k.name, []string{path}, nil
		}
		for _, python := range []string{"python3", "python"} {
			if exec.Command(python, "-c", "import "+k.module).Run() == nil {
				return k.name, []string{python, "-m", k.module}, nil
			}
		}
	}
	switch want {
	case "lab":
		return "", nil, errors.New("JupyterLab is not installed here; install it (pip install jupyterlab), or ask for --notebook")
	case "notebook":
		return "", nil, errors.New("the notebook is not installed here; install it (pip install notebook), or ask for --lab")
	}
	return "", nil, errors.New("no Jupyter server is installed here: pip install jupyterlab")
}

// addressed reports whether an argument of the user's sets the address of the server.
func addressed(arg string) bool {
	option, _, _ := strings.Cut(arg, "=")
	for _, class := range []string{"", "ServerApp.", "NotebookApp.", "LabApp."} {
		for _, name := range []string{"ip", "port", "sock"} {
			if option == "--"+class+name {
				return true
			}
		}
	}
	return false
}

// arguments returns the arguments of a Jupyter server, with the user's last. The server listens
// on a unix socket, unless the user sets an address: it takes either a port or a socket.
func arguments(socket string, given []string) (args []string) {
	args = []string{"--no-browser"}
	if os.Getuid() == 0 {
		args = append(args, "--allow-root")
	}
	for _, class := range []string{"ServerApp", "NotebookApp"} { // notebook before version 7 knows only the second
		if !slices.ContainsFunc(given, addressed) {
			args = append(args, "--"+class+".sock="+socket)
		}
		args = append(args, "--"+class+".base_url=/", "--"+class+".iopub_msg_rate_limit=0", "--"+class+".iopub_data_rate_limit=0")
	}
	// since jupyter_server 2
	args = append(args, "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=0", "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=0")
	return append(args, given...) // if an option is given twice, the last one counts
}

// located returns the server as it describes itself: the user's arguments may have changed its
// address or token.
func (s server) located() server {
	for _, r := range running() {
		if r.PID == s.PID {
			s.Network, s.Address, s.Base, s.Token, s.file = r.Network, r.Address, r.Base, r.Token, r.file
		}
	}
	return s
}

// own is the record of a server that was started here. A later run of this program recognizes it
// by its token.
type own struct {
	Kind  string `json:"kind"`
	Token string `json:"token"`
	Dir   string `json:"dir"`
}

func ownPath(state string) string { return filepath.Join(state, "server.json") }

func (s server) note(state string, news io.Writer) {
	data, err := json.Marshal(own{s.Kind, s.Token, s.Dir})
	if err == nil {
		err = keyway.WriteFile(ownPath(state), data, 0o600)
	}
	if err != nil {
		fmt.Fprintf(news, "if this program is killed, the next one will not end the Jupyter server: %v\n", err)
	}
}

// known marks a server that was found as ours, if an earlier run of this program has started it.
// That run was killed, or it would have ended the server.
func (s server) known(state string) server {
	var o own
	data, err := os.ReadFile(ownPath(state))
	if err == nil && json.Unmarshal(data, &o) == nil && o.Token != "" && o.Token == s.Token {
		s.Kind, s.Dir, s.ours = o.Kind, o.Dir, true
	}
	return s
}

// jupyterConfigPath is the variable with the directories in which a Jupyter server reads further
// configuration files.
const jupyterConfigPath = "JUPYTER_CONFIG_PATH"

// moreMessages is a configuration file of a Jupyter server. A kernel may print faster than the
// server reads, because the server reads in one thread of Python. ZeroMQ then drops all messages
// beyond 1,000 (its option RCVHWM), and with them the end of the cell. The file raises the limit,
// which counts messages and not bytes: a printed line takes about 1 KB of the server's memory while
// it waits. The server has no option for the limit.
//
//go:embed more_messages.py
var moreMessages []byte

// configuration makes a directory for jupyterConfigPath. All Jupyter programs read its file in
// addition to those of the user, which remain unchanged.
func configuration(state string) (dir string, err error) {
	dir = filepath.Join(state, "config")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, keyway.WriteFile(filepath.Join(dir, "jupyter_config.py"), moreMessages, 0o600)
}

// start starts a Jupyter server. The token is in its environment, because every user of the
// machine can read its arguments.
func start(kind string, argv, given []string, dir, state string, news io.Writer) (server, error) {
	s := server{Kind: kind, Network: "unix", Address: filepath.Join(state, "server.sock"), Base: "/", Token: rand.Text() + rand.Text(), Dir: dir}
	if err := os.Remove(s.Address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	argv = append(slices.Clone(argv), arguments(s.Address, given)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, news, news
	cmd.Env = append(os.Environ(), "JUPYTER_TOKEN="+s.Token)
	if dir, err := configuration(state); err != nil {
		fmt.Fprintf(news, "the Jupyter server drops output that it reads too slowly: %v\n", err)
	} else {
		cmd.Env = append(cmd.Env, jupyterConfigPath+"="+strings.TrimSuffix(dir+":"+os.Getenv(jupyterConfigPath), ":"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this program, which asks the user
	if err := cmd.Start(); err != nil {
		return s, err
	}
	s.cmd, s.PID, s.ours = cmd, cmd.Process.Pid, true
	s.note(state, news)
	return s, nil
}
