//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// Exit statuses of a command that could not be run, as in shells (POSIX.1-2024, Shell
// Command Language, 2.8.2).
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// sessionChannel is one "session" channel (RFC 4254, section 6):
//
//	open ── env, pty-req, auth-agent-req ──► open
//	open ── shell, exec, subsystem ────────► started ── signal, window-change ──► started
//	either ── channel closed ──────────────► gone
//
// Requests are handled one after the other, so fields need no lock.
type sessionChannel struct {
	conn    *connection
	channel ssh.Channel
	env     clientEnvironment
	argv    keyway.Argv // the session's command, which needs no shell
	term    *terminal   // nil: the client requested none
	slave   *os.File    // the terminal's other end, until the program has it
	termEnv string      // TERM
	started bool
	process *process
	gone    chan struct{}
	work    sync.WaitGroup // goroutines of this channel
}

func (c *connection) serveSession(nc ssh.NewChannel) {
	channel, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	s := &sessionChannel{conn: c, channel: channel, gone: make(chan struct{})}
	for req := range reqs {
		run, err := s.handle(req)
		if run != nil && s.term == nil {
			s.conn.out.hold(channel) // the output of a short program leaves with this answer
		}
		_ = req.Reply(err == nil, nil)
		// Only now: a client must be told that its command was accepted before it is told
		// that the command has ended.
		if run != nil {
			s.work.Go(run)
		}
	}
	s.hangUp()
	s.work.Wait()
}

// hangUp is called when the channel is closed in both directions.
func (s *sessionChannel) hangUp() {
	close(s.gone)
	if s.process != nil {
		s.process.hangUp()
	} else if s.term != nil {
		s.term.master.Close()
	}
	if s.slave != nil {
		s.slave.Close()
	}
}

var errOutOfOrder = errors.New("not at this point")

// handle handles one request. An error refuses it. The function that it returns runs while
// the next requests are handled.
func (s *sessionChannel) handle(req *ssh.Request) (run func(), err error) {
	switch req.Type {
	case "env":
		return nil, s.setEnv(req.Payload)
	case "pty-req":
		return nil, s.openTerminal(req.Payload)
	case "auth-agent-req@openssh.com":
		s.conn.server.agent.offer(s.conn)
		return nil, nil
	case "shell", "exec", "subsystem":
		if s.abandoned() {
			return nil, errOutOfOrder
		}
		return s.start(req)
	case "window-change":
		return nil, s.resize(req.Payload)
	case "signal":
		return nil, s.signal(req.Payload)
	case "break":
		return nil, s.sendBreak()
	case "eow@openssh.com":
		return nil, s.endOutput()
	}
	return nil, errUnknownRequest
}

const (
	// backlogTime is the time after a resumption in which requests of before may still come, in seconds.
	backlogTime = 10
	// closeTime is the time in which the end of a channel comes after such a request.
	closeTime = 500 * time.Millisecond
)

// abandoned reports whether the client has closed the channel already. After a loss of the network,
// a request may come long after its user was told that there was no answer, and the end of its
// channel comes behind it. What was asked for must not run then, so abandoned waits for the end.
func (s *sessionChannel) abandoned() bool {
	over, ok := s.conn.out.Conn.(*stream.Conn)
	if !ok || uint64(time.Now().Unix()-over.Resumed()) > backlogTime { // also if the clock was set back
		return false
	}
	time.Sleep(closeTime)
	// Clients ignore it. Only this tells of the end while requests wait.
	_, err := s.channel.SendRequest("keepalive@openssh.com", false, nil)
	return err != nil
}

func (s *sessionChannel) setEnv(payload []byte) error {
	req, err := decode[envRequest](payload)
	if err != nil {
		return err
	}
	if s.argv.Set(req.Name, req.Value) {
		return nil
	}
	if !s.env.set(req.Name, req.Value) {
		return errors.New("not a variable that a client may set")
	}
	return nil
}

func (s *sessionChannel) openTerminal(payload []byte) error {
	req, err := decode[ptyRequest](payload)
	if err != nil {
		return err
	}
	if s.started || s.term != nil {
		return errOutOfOrder
	}
	s.term, s.slave, err = openTerminal()
	if err != nil {
		s.conn.server.log.warn("no terminal", "error", err)
		return err
	}
	s.termEnv = req.Term
	// A terminal with the wrong size or modes is better than none.
	_ = s.term.resize(windowChange{req.Columns, req.Rows, req.PixelWidth, req.PixelHeight})
	_ = s.term.applyModes(parseModes(req.Modes))
	return nil
}

func (s *sessionChannel) resize(payload []byte) error {
	size, err := decode[windowChange](payload)
	if err != nil {
		return err
	}
	if s.term == nil {
		return errOutOfOrder
	}
	return s.term.resize(size)
}

func (s *sessionChannel) signal(payload []byte) error {
	req, err := decode[signalRequest](payload)
	if err != nil {
		return err
	}
	sig, known := sshSignals[req.Name]
	if !known || s.process == nil {
		return errOutOfOrder
	}
	return s.process.signal(sig)
}

// sendBreak does what a break on a serial line does to its terminal (RFC 4335).
func (s *sessionChannel) sendBreak() error {
	if s.term == nil {
		return errOutOfOrder
	}
	return s.term.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 0) })
}

// endOutput handles the client's message that standard output has lost its reader (OpenSSH's
// PROTOCOL, section 2.1). The program then ends as it would in a pipeline.
func (s *sessionChannel) endOutput() error {
	if s.process == nil || s.term != nil {
		return errOutOfOrder
	}
	return s.process.outputs[0].src.Close()
}

// start starts the shell, command or subsystem of the channel, once.
func (s *sessionChannel) start(req *ssh.Request) (run func(), err error) {
	if s.started {
		return nil, errOutOfOrder
	}
	var msg execRequest
	if req.Type != "shell" {
		if msg, err = decode[execRequest](req.Payload); err != nil {
			return nil, err
		}
	}
	if req.Type == "subsystem" {
		if msg.Command != "sftp" {
			return nil, errUnknownRequest
		}
		s.started = true
		return s.serveSFTP, nil
	}
	if strings.ContainsRune(msg.Command, 0) {
		return nil, errors.New("a NUL byte in a command")
	}
	s.started = true
	return s.startProgram(req.Type == "shell" || msg.Command == "", msg.Command), nil
}

// startProgram starts a shell or a command, and returns the function that carries its input and
// output. The request has already been accepted, so errors are reported as a shell would.
func (s *sessionChannel) startProgram(interactive bool, command string) func() {
	cmd, code, err := s.program(interactive, command)
	if err != nil {
		return func() { s.refuse(code, err) }
	}
	p, err := s.launch(cmd)
	if err != nil {
		code := exitNotExecutable
		if errors.Is(err, fs.ErrNotExist) {
			code = exitNotFound
		}
		return func() { s.refuse(code, err) }
	}
	s.process = p
	return func() { s.carry(p) }
}

// prompt returns a writer to a part of the channel for a program's output.
func (s *sessionChannel) prompt(w io.Writer) prompt { return prompt{w, s.conn.out, s.channel} }

func (s *sessionChannel) launch(cmd *exec.Cmd) (*process, error) {
	if s.term == nil {
		return startPiped(cmd, s.prompt(s.channel), s.prompt(s.channel.Stderr()))
	}
	slave := s.slave
	s.slave = nil
	return startOnTerminal(cmd, s.term, slave, s.prompt(s.channel))
}

// program returns the command to run, or the error that prevents it and the exit status for
// that error.
func (s *sessionChannel) program(interactive bool, command string) (*exec.Cmd, int, error) {
	account := s.conn.server.account
	cmd := &exec.Cmd{
		Path:        account.Shell,
		Dir:         s.startDir(),
		Env:         s.environ().list(),
		SysProcAttr: &unix.SysProcAttr{Setsid: true},
	}
	name := filepath.Base(account.Shell)
	switch {
	case isCopyID(command):
		return nil, 1, errCopyID
	case strings.HasPrefix(command, keyway.ArgvCommand) && s.argv.Given():
		words, err := s.argv.Words()
		cmd.Path, cmd.Args = ownProgram(s.conn.server.home), append([]string{keyway.SessionLink}, words...)
		return cmd, exitNotExecutable, err
	case account.Shell == "" && interactive:
		return nil, exitNotFound, errNoShell
	case account.Shell == "":
		code, err := s.withoutShell(cmd, command)
		return cmd, code, err
	case interactive && s.conn.server.login:
		cmd.Args = []string{"-" + name}
	case interactive:
		cmd.Args = []string{name}
	default:
		cmd.Args = []string{name, "-c", command}
	}
	return cmd, 0, nil
}

var errNoShell = errors.New("this image has no shell; run a program by its path: ssh NAME /path/to/program")

// withoutShell parses command into cmd for an image that has no shell.
func (s *sessionChannel) withoutShell(cmd *exec.Cmd, command string) (int, error) {
	words, err := splitWords(command, s.conn.server.account.Home)
	if err != nil {
		return exitNotExecutable, err
	}
	cmd.Args = words
	cmd.Path, err = s.findProgram(words[0], cmd.Dir)
	if err != nil {
		return exitNotFound, err
	}
	return 0, nil
}

// findProgram finds the program that execvp(3) would run, or this program under one of its
// other names.
func (s *sessionChannel) findProgram(name, dir string) (string, error) {
	path := s.environ()["PATH"]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for _, d := range filepath.SplitList(path) {
		if p := filepath.Join(d, name); filepath.IsAbs(p) && isExecutable(p) {
			return p, nil
		}
	}
	if name == keyway.CopyLink || name == keyway.SessionLink {
		return ownProgram(s.conn.server.home), nil
	}
	return "", fmt.Errorf("%s: no such program in %s", name, path)
}

// startDir returns the directory that programs start in. The account's may be gone.
func (s *sessionChannel) startDir() string {
	account := s.conn.server.account
	for _, dir := range []string{account.Start, account.Home} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && unix.Access(dir, unix.X_OK) == nil {
			return dir
		}
	}
	return "/"
}

func (s *sessionChannel) environ() environment {
	e := maps.Clone(s.conn.server.env)
	e.dropGone()
	maps.Copy(e, s.env.vars)
	if s.term != nil {
		e["SSH_TTY"] = s.term.name
		e["TERM"] = s.termEnv
	}
	return e
}

// carry copies the program's input and output until both have ended, sends the exit status
// as soon as all of the program's own output is sent, and closes the channel. As with sshd,
// a background process that holds a pipe keeps the channel open, but does not delay the
// exit status. The end of the output is sent after the status, even if it came before: a
// client whose input has ended closes the channel when the output ends, and could be sent
// no status then. If all of this comes together, it leaves in one write.
func (s *sessionChannel) carry(p *process) {
	s.work.Go(func() { s.feed(p) })
	hold := func() { s.conn.out.hold(s.channel) }
	first := sync.OnceFunc(hold) // of both outputs
	var outputs sync.WaitGroup
	for _, o := range p.outputs {
		if p.term == nil {
			o.first = first
		}
		outputs.Go(o.copy)
	}
	if s.awaitExit(p) {
		hold()
		s.sendExit(p.state)
	}
	outputs.Wait()
	_ = s.channel.CloseWrite()
	if s.awaitExit(p) {
		s.channel.Close()
	}
	s.conn.out.flush()
}

// feed copies the client's input to the program. The end of input closes a pipe; a terminal
// has only a key for it.
func (s *sessionChannel) feed(p *process) {
	_ = buffers.Copy(p.stdin, s.channel)
	if p.term == nil {
		p.stdin.Close()
	}
}

// awaitExit waits until the program has exited and its output is sent. It reports false if
// the client goes away before.
func (s *sessionChannel) awaitExit(p *process) bool {
	waits := []<-chan struct{}{p.exited}
	for _, o := range p.outputs {
		waits = append(waits, o.drained)
	}
	for _, w := range waits {
		select {
		case <-w:
		case <-s.gone:
			return false
		}
	}
	return true
}

// sendExit sends how the program ended (RFC 4254, section 6.10).
func (s *sessionChannel) sendExit(state *os.ProcessState) {
	status := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(exitSignal{
			Name:       signalName(status.Signal()),
			CoreDumped: status.CoreDump(),
		}))
		return
	}
	s.sendStatus(status.ExitStatus())
}

func (s *sessionChannel) sendStatus(code int) {
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(exitStatus{Status: uint32(code)}))
}

// refuse writes err to the channel's standard error and ends the channel.
func (s *sessionChannel) refuse(code int, err error) {
	s.complain(err)
	s.finish(code)
}

func (s *sessionChannel) complain(err error) {
	_, _ = io.WriteString(s.channel.Stderr(), "keyway: "+err.Error()+"\r\n")
}

func (s *sessionChannel) finish(code int) {
	s.conn.out.hold(s.channel)
	s.sendStatus(code)
	_ = s.channel.CloseWrite()
	s.channel.Close()
	s.conn.out.flush()
}
