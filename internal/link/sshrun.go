package link

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/unixsock"
)

// sshRun is the ssh of one attempt to reach a place, with one ssh for each jump host. Each ssh
// writes its own messages to a file (-E). Its standard error has the messages of its host, or of a
// program of the user's.
type sshRun struct {
	dir      string
	place    keyway.Place
	last     *hop // the place
	options  func(host, ssh string) []string
	listener net.Listener
	heard    func(api.Words) // called with new messages of a host, one call at a time
	agent    func() string   // returns the socket of an agent that does not answer, or ""; may be nil

	mu    sync.Mutex
	hops  []*hop // in the order in which their ssh started: the place first
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
	ended bool
}

// hop is one host on the route.
type hop struct {
	name string
	log  string // file with the messages of its ssh

	banner stderrTail // messages of the host before the login
	said   stderrTail // and after it
}

const (
	// runPrefix begins the names of the directories of runs, and of the logs of ssh that forward
	// ports. They are in the runtime directory.
	runPrefix = "run-"
	// maxJumpHosts bounds the jump hosts of a run.
	maxJumpHosts = 32
	// maxOwnWords bounds the bytes that are read of an ssh's own messages.
	maxOwnWords = 64 << 10
)

// newSSHRun prepares a run below dir. program is keyway's executable, options returns the
// options for an ssh to a jump host. The caller calls close.
func newSSHRun(dir, program string, place keyway.Place, options func(host, ssh string) []string, heard func(api.Words)) (*sshRun, error) {
	dir, err := os.MkdirTemp(dir, runPrefix)
	if err != nil {
		return nil, err
	}
	d := &sshRun{dir: dir, place: place, options: options, heard: heard, conns: map[net.Conn]struct{}{}}
	d.last = d.add(string(place))
	if !hopsAreApart {
		return d, nil
	}
	err = errors.Join(os.Symlink(program, filepath.Join(dir, hopProgram)), os.Symlink(program, filepath.Join(dir, hopShell)))
	if err == nil {
		d.listener, err = unixsock.Listen(filepath.Join(dir, hopSocket), 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	d.work.Go(d.accept)
	return d, nil
}

// cleanRuns removes the remains of a killed link's runs from dir.
func cleanRuns(dir string) {
	for _, prefix := range []string{runPrefix, "way-"} { // way- is of earlier versions
		left, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
		for _, d := range left {
			os.RemoveAll(d)
		}
	}
}

// name returns the name by which to start ssh, and env the variables that it needs. shell is the
// user's, if commands of the user's lead to the place, else empty.
func (d *sshRun) name() string {
	path := filepath.Join(d.dir, hopProgram)
	// ssh puts it into a command line without quoting.
	if !hopsAreApart || plain.Shell(path) != path || strings.Contains(path, "%") {
		return hopProgram
	}
	return path
}

func (d *sshRun) env(ssh, path, shell string) []string {
	set := []string{hopNameEnv + "=" + string(d.place)}
	if hopsAreApart {
		if shell != "" && d.name() != hopProgram {
			set = append(set, hopShellEnv+"="+shell, "SHELL="+filepath.Join(d.dir, hopShell))
		}
		set = append(set, hopDirEnv+"="+d.dir, hopSSHEnv+"="+ssh, "PATH="+d.dir+string(os.PathListSeparator)+path)
	}
	return set
}

func (d *sshRun) add(name string) *hop {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.hops) > maxJumpHosts {
		return nil
	}
	h := &hop{name: plain.Line(name), log: filepath.Join(d.dir, strconv.Itoa(len(d.hops))+".log")}
	d.hops = append(d.hops, h)
	return h
}

func (d *sshRun) accept() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.ended {
			conn.Close()
		} else {
			d.conns[conn] = struct{}{}
			d.work.Go(func() { d.listen(conn) })
		}
		d.mu.Unlock()
	}
}

// listen reads the messages of one ssh to a jump host until it has ended.
func (d *sshRun) listen(conn net.Conn) {
	defer func() {
		conn.Close()
		d.mu.Lock()
		delete(d.conns, conn)
		d.mu.Unlock()
	}()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReaderSize(conn, maxHopMessage)
	line, err := r.ReadSlice('\n')
	var hello hopHello
	if err != nil || json.Unmarshal(line, &hello) != nil {
		return
	}
	h := d.add(hello.Host)
	if h == nil {
		return
	}
	if _, err := conn.Write(encodeLine(hopWelcome{Log: h.log, Options: d.options(hello.Host, hello.SSH)})); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	_, _ = io.Copy(d.words(h), r)
}

// words returns a writer for the messages of h.
func (d *sshRun) words(h *hop) io.Writer { return wordsOf{d, h} }

type wordsOf struct {
	d *sshRun
	h *hop
}

func (w wordsOf) Write(p []byte) (int, error) {
	to := &w.h.banner
	if w.h.state().authenticated {
		to = &w.h.said
	}
	n, err := to.Write(p)
	if w.d.heard != nil {
		w.d.heard(api.Words{Host: w.h.name, Text: string(p)})
	}
	return n, err
}

// silentAgent returns the socket of an agent that these ssh use and that does not answer, or "".
func (d *sshRun) silentAgent() string {
	if d.agent == nil {
		return ""
	}
	return d.agent()
}

// route returns the hops from here to the place.
func (d *sshRun) route() []*hop {
	d.mu.Lock()
	defer d.mu.Unlock()
	route := make([]*hop, 0, len(d.hops))
	for i := len(d.hops) - 1; i >= 0; i-- {
		route = append(route, d.hops[i])
	}
	return route
}

// close ends the run and waits for its goroutines. Its processes have ended.
func (d *sshRun) close() {
	if d.listener != nil {
		d.listener.Close()
	}
	d.mu.Lock()
	d.ended = true
	for conn := range d.conns {
		conn.Close()
	}
	d.mu.Unlock()
	d.work.Wait()
	os.RemoveAll(d.dir)
}

// state returns the state that the hop's ssh has reported.
func (h *hop) state() sshState { return readState(h.own()) }

// own returns the messages of the hop's ssh itself, by line.
func (h *hop) own() []string {
	f, err := os.Open(h.log)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxOwnWords))
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// told returns the host's messages since the login, in one line; empty if there are none.
func (h *hop) told() string { return brief(h.said.String()) }

// greeted returns the messages before the login.
func (h *hop) greeted() string { return brief(h.banner.String()) }

// maxBrief bounds the characters that a message quotes of a host.
const maxBrief = 400

// brief returns the ends of texts in one line. Each has an equal share of it, so that a long one
// does not crowd out the others.
func brief(texts ...string) string {
	var lines []string
	for _, text := range texts {
		if line := plain.Line(text); line != "" {
			lines = append(lines, line)
		}
	}
	for i, line := range lines {
		if r, share := []rune(line), maxBrief/len(lines); len(r) > share {
			lines[i] = "…" + string(r[len(r)-share:])
		}
	}
	return strings.Join(lines, " ")
}

// instruction returns the host's message with a question: all lines of its ssh before the login
// that are not known to be ssh's own.
func (h *hop) instruction() string {
	lines := h.own()
	if readState(lines).authenticated {
		return ""
	}
	var said []string
	for _, l := range lines {
		if !slices.ContainsFunc(ownBeforeLogin, func(own string) bool { return strings.HasPrefix(l, own) }) {
			said = append(said, l)
		}
	}
	return strings.Join(said, "\n")
}

// ownBeforeLogin are the beginnings of ssh's own lines that may precede a question.
var ownBeforeLogin = []string{"Warning: ", "Permission denied, please try again.", "Authenticated using ", "Authentications that can continue", "Server accepts key", "sign_and_send_pubkey: ", "sshconnect2.c:sign_and_send_pubkey():", "Load key ", "debug", "agent key "}
