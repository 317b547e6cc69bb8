//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/jupyter/front"
	"keyway/internal/jupyter/hold"
	"keyway/internal/jupyter/journal"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// wish says which Jupyter server to start if none runs.
type wish struct {
	kind string   // lab or notebook; empty: the best that is installed
	dir  string   // the directory of the notebooks
	args []string // more arguments for its command line
}

// startTime bounds the time until a new Jupyter server answers.
const startTime = 2 * time.Minute

// serve finds or starts the Jupyter server, and has a child serve it until a signal comes or the
// server ends.
func serve(w wish, away, long time.Duration, news io.Writer, stop <-chan os.Signal) error {
	state, err := stateDir()
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(state, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := filelock.Try(lock, filelock.Exclusive); errors.Is(err, filelock.ErrLocked) {
		return errors.New("it runs here already")
	} else if err != nil {
		return err
	}
	if err := inherit(state); err != nil {
		return err
	}
	if w.dir == "" {
		if w.dir, err = os.Getwd(); err != nil {
			return err
		}
	}
	s, err := ready(w, state, news, stop)
	if err != nil {
		return err
	}
	defer s.end(news)
	defer s.claim.Close()
	listener, err := listen(filepath.Join(state, "front.sock"))
	if err != nil {
		return err
	}
	defer listener.Close()
	secret, err := token(state)
	if err != nil {
		return err
	}
	if err := publish(state, s, secret); err != nil {
		return err
	}
	defer os.Remove(recordPath(state))
	return supervise(s, listener, keeping{s, secret, state, away, long}, news, stop)
}

// ready returns a server that answers. It starts one if none is found, and waits for it.
func ready(w wish, state string, news io.Writer, stop <-chan os.Signal) (server, error) {
	for _, s := range running() {
		if !elsewhere(s.PID) && s.answers(context.Background()) && s.take() {
			s = s.known(state)
			fmt.Fprintf(news, "using the Jupyter server that runs here (process %d)\n", s.PID)
			if !s.ours {
				fmt.Fprint(news, limitsNotice)
			}
			return s, nil
		}
	}
	kind, argv, err := pick(w.kind)
	if err != nil {
		return server{}, err
	}
	s, err := start(kind, argv, w.args, w.dir, state, news)
	if err != nil {
		return s, fmt.Errorf("the Jupyter server does not start: %w", err)
	}
	for end := time.Now().Add(startTime); !s.answers(context.Background()); {
		s = s.located()
		if time.Now().After(end) {
			s.end(news)
			return s, fmt.Errorf("the Jupyter server does not answer after %v", startTime)
		}
		select {
		case <-stop:
			s.end(news)
			return s, errors.New("stopped before the Jupyter server was there")
		case <-time.After(200 * time.Millisecond):
		}
		if s.ended() {
			return s, errors.New("the Jupyter server has ended: see its output above")
		}
	}
	s = s.located()
	s.note(state, news) // the user's arguments may set a token
	s.take()
	return s, nil
}

// limitsNotice is printed for a server that keyway has not started.
const limitsNotice = `it was not started by keyway and keeps its limits: it drops the output of a kernel beyond them, and
keyway cannot keep that. To remove the limits, start it with --ServerApp.iopub_msg_rate_limit=0 --ServerApp.iopub_data_rate_limit=0
(jupyter_server 2: --ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=0 and …iopub_data_rate_limit=0)
`

// ended reports whether the server's process has ended.
func (s server) ended() bool {
	if s.cmd == nil {
		return !alive(s.PID)
	}
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(s.PID, &status, syscall.WNOHANG, nil)
	return pid == s.PID || errors.Is(err, syscall.ECHILD)
}

// end stops a server that was started here, and its kernels with it.
func (s server) end(news io.Writer) {
	if !s.ours || s.ended() {
		return
	}
	_ = syscall.Kill(s.PID, syscall.SIGTERM)
	for range 100 {
		if s.ended() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Fprintln(news, "the Jupyter server does not end by itself: it is killed")
	_ = syscall.Kill(-s.PID, syscall.SIGKILL)
}

func listen(path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is too long for a socket: the directory of the workspace, or XDG_STATE_HOME, must be shorter", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return unixsock.Listen(path, 0o600)
}

// publish writes the record for clients.
func publish(state string, s server, secret string) error {
	page := map[string]string{"lab": "lab", "notebook": "tree"}[s.Kind]
	data, err := json.Marshal(record{Socket: filepath.Join(state, "front.sock"), Token: secret, Base: s.Base, Page: page,
		Server: s.Kind, Dir: s.Dir, PID: os.Getpid(), Since: keyway.Version})
	if err != nil {
		return err
	}
	return keyway.WriteFile(recordPath(state), append(data, '\n'), 0o600)
}

// keeping is the state that serve hands to the child, as JSON.
type keeping struct {
	Server server        `json:"server"`
	Token  string        `json:"token"`
	State  string        `json:"state"`
	Away   time.Duration `json:"away"`
	Long   time.Duration `json:"long"`
}

// supervise keeps a child running as long as the Jupyter server does.
func supervise(s server, listener *net.UnixListener, told keeping, news io.Writer, stop <-chan os.Signal) error {
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	var keeper hold.Keeper
	defer keeper.Close()
	for {
		child, err := begin(file, &keeper, told, news)
		if err != nil {
			return err
		}
		end, err := watch(s, child, stop)
		keeper.Ended()
		if end {
			return err
		}
		fmt.Fprintf(news, "the program that keeps the outputs has ended (%v): starting it again\n", err)
		time.Sleep(200 * time.Millisecond)
	}
}

// child is the process that does the work.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan error
}

func begin(listener *os.File, keeper *hold.Keeper, told keeping, news io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lines, err := keeper.Start()
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	cmd := exec.Command(self, "keep")
	cmd.Stderr, cmd.ExtraFiles = news, []*os.File{listener, lines} // their numbers are listenerFD and linesFD
	in, err := cmd.StdinPipe()                                     // its end tells the child that this process is gone
	if err != nil {
		return nil, err
	}
	if err := startSlack(cmd); err != nil {
		return nil, err
	}
	c := &child{cmd, in, make(chan error, 1)}
	err = json.NewEncoder(in).Encode(told)
	go func() { c.done <- cmd.Wait() }() // joined by watch
	return c, err
}

// watch waits until the child, the server or this program ends. over reports whether serve is to
// end.
func watch(s server, c *child, stop <-chan os.Signal) (over bool, err error) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case err := <-c.done:
			return s.ended(), err
		case <-stop:
			if s.ours { // a server that was found continues, and so do its kernels
				_ = json.NewEncoder(c.in).Encode(stopWord) // fails only if the child has ended
			}
			return true, c.end()
		case <-look.C:
			if s.ended() {
				_ = c.end()
				return true, errors.New("the Jupyter server has ended, and its kernels with it")
			}
		}
	}
}

// stopWord tells the child that the kernels are about to end.
const stopWord = "stop"

// end tells the child to end, and waits for it.
func (c *child) end() error {
	_ = c.in.Close()
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
	return nil
}

// memoryLimit is the memory, in bytes, above which the child collects garbage more often.
const memoryLimit = 16 << 20

// keep is the child: it serves the socket that its parent has opened, until its input ends.
func keep(in io.Reader, news io.Writer) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // the parent tells the child when and how to end
	runtime.GOMAXPROCS(1)                                          // a training job needs the other CPUs; waking them costs more than the work
	debug.SetGCPercent(50)                                         // the heap is small, and should stay so beside a training job
	debug.SetMemoryLimit(memoryLimit)
	var told keeping
	d := json.NewDecoder(in)
	if err := d.Decode(&told); err != nil {
		return fmt.Errorf("keep is for serve: %w", err)
	}
	listener, err := net.FileListener(os.NewFile(listenerFD, "socket"))
	if err != nil {
		return fmt.Errorf("keep is for serve: %w", err)
	}
	dir := filepath.Join(told.State, "kernels")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lines, err := hold.Inherit(os.NewFile(linesFD, "lines"), dir)
	if err != nil {
		return fmt.Errorf("keep is for serve: %w", err)
	}
	f, err := front.New(front.Options{
		Upstream: upstream(told.Server, lines),
		Token:    told.Token, Dir: dir, Limits: journal.Default,
		Logf: func(format string, args ...any) {
			fmt.Fprintf(news, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
		},
		Away: told.Away, Long: told.Long, Gap: 300 * time.Millisecond, Again: 4 * time.Second,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Resume(context.Background()); err != nil {
		fmt.Fprintln(news, err)
	}
	web := http.Server{Handler: f, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	go func() { // ends with the process
		var word string
		if d.Decode(&word) == nil && word == stopWord {
			f.Stop(context.Background())
		}
		_ = web.Close()
	}()
	err = web.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
