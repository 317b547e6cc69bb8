package link

import (
	"bufio"
	"encoding/json"
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

// trip is one go at reaching a place: its ssh, and one for each jump host. What
// each of them says itself it writes to a file of its own (-E); what comes by its
// standard error is what its host says, or what a program of the user's does.
type trip struct {
	dir      string
	place    keyway.Place
	last     *hop // the place
	options  []string
	listener net.Listener
	heard    func(api.Words) // news of what a host says; one call at a time

	mu    sync.Mutex
	hops  []*hop // in the order in which their ssh began: the place first
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
	ended bool
}

// hop is one host on the way.
type hop struct {
	name string
	log  string // what its ssh says itself

	banner tail // what it said before somebody had logged in
	said   tail // and after
}

const (
	// tripPrefix begins the names of trips' directories.
	tripPrefix = "way-"
	// maxHopsOnTheWay bounds the jump hosts of a trip.
	maxHopsOnTheWay = 32
	// maxOwnWords is how much is read of what an ssh says itself, in bytes.
	maxOwnWords = 64 << 10
)

// newTrip prepares a trip below dir. program is our own executable, options are
// for the ssh to each jump host. The caller calls close.
func newTrip(dir, program string, place keyway.Place, options []string, heard func(api.Words)) (*trip, error) {
	dir, err := os.MkdirTemp(dir, tripPrefix)
	if err != nil {
		return nil, err
	}
	t := &trip{dir: dir, place: place, options: options, heard: heard, conns: map[net.Conn]struct{}{}}
	t.last = t.add(string(place))
	if !hopsAreApart {
		return t, nil
	}
	err = os.Symlink(program, filepath.Join(dir, hopProgram))
	if err == nil {
		t.listener, err = unixsock.Listen(filepath.Join(dir, hopSocket), 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	t.work.Go(t.accept)
	return t, nil
}

// cleanTrips removes what trips of a link that was killed have left.
func cleanTrips(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, tripPrefix+"*"))
	for _, d := range left {
		os.RemoveAll(d)
	}
}

// name is by which ssh is to be started, and env what it needs beside that.
func (t *trip) name() string {
	path := filepath.Join(t.dir, hopProgram)
	// ssh puts it into a command line as it stands.
	if !hopsAreApart || plain.Shell(path) != path || strings.Contains(path, "%") {
		return "ssh"
	}
	return path
}

func (t *trip) env(ssh, path string) []string {
	set := []string{hopNameEnv + "=" + string(t.place)}
	if hopsAreApart {
		set = append(set, hopDirEnv+"="+t.dir, hopSSHEnv+"="+ssh, "PATH="+t.dir+string(os.PathListSeparator)+path)
	}
	return set
}

func (t *trip) add(name string) *hop {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.hops) > maxHopsOnTheWay {
		return nil
	}
	h := &hop{name: plain.Line(name), log: filepath.Join(t.dir, strconv.Itoa(len(t.hops))+".log")}
	t.hops = append(t.hops, h)
	return h
}

func (t *trip) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		if t.ended {
			conn.Close()
		} else {
			t.conns[conn] = struct{}{}
			t.work.Go(func() { t.listen(conn) })
		}
		t.mu.Unlock()
	}
}

// listen hears one ssh to a jump host until it has ended.
func (t *trip) listen(conn net.Conn) {
	defer func() {
		conn.Close()
		t.mu.Lock()
		delete(t.conns, conn)
		t.mu.Unlock()
	}()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReaderSize(conn, maxHopMessage)
	line, err := r.ReadSlice('\n')
	var hello hopHello
	if err != nil || json.Unmarshal(line, &hello) != nil {
		return
	}
	h := t.add(hello.Host)
	if h == nil {
		return
	}
	if _, err := conn.Write(encodeLine(hopWelcome{Log: h.log, Options: t.options})); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	_, _ = io.Copy(t.words(h), r)
}

// words takes what h says.
func (t *trip) words(h *hop) io.Writer { return wordsOf{t, h} }

type wordsOf struct {
	t *trip
	h *hop
}

func (w wordsOf) Write(p []byte) (int, error) {
	to := &w.h.banner
	if w.h.state().authenticated {
		to = &w.h.said
	}
	n, err := to.Write(p)
	if w.t.heard != nil {
		w.t.heard(api.Words{Host: w.h.name, Text: string(p)})
	}
	return n, err
}

// route is the hops from here to the place.
func (t *trip) route() []*hop {
	t.mu.Lock()
	defer t.mu.Unlock()
	route := make([]*hop, 0, len(t.hops))
	for i := len(t.hops) - 1; i >= 0; i-- {
		route = append(route, t.hops[i])
	}
	return route
}

// close ends the trip and waits for that; its processes have ended.
func (t *trip) close() {
	if t.listener != nil {
		t.listener.Close()
	}
	t.mu.Lock()
	t.ended = true
	for conn := range t.conns {
		conn.Close()
	}
	t.mu.Unlock()
	t.work.Wait()
	os.RemoveAll(t.dir)
}

// state is what the hop's ssh has said itself.
func (h *hop) state() sshState { return readState(h.own()) }

// own is the lines that the hop's ssh has said itself.
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

// told is what the host has said since somebody was logged in, in a line; empty if
// it has said nothing.
func (h *hop) told() string { return brief(h.said.String()) }

// greeted is what it said before.
func (h *hop) greeted() string { return brief(h.banner.String()) }

// maxBrief bounds what is quoted of a host in a message, in characters.
const maxBrief = 400

// brief is the end of a text in one line.
func brief(text string) string {
	r := []rune(plain.Line(text))
	if len(r) > maxBrief {
		return "…" + string(r[len(r)-maxBrief:])
	}
	return string(r)
}

// instruction is what the host says with a question: all that its ssh has written
// before anybody was logged in and that is not known as ssh's own.
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

// ownBeforeLogin is how ssh's own lines begin that may stand before a question.
var ownBeforeLogin = []string{"Warning: ", "Permission denied, please try again.", "Authenticated using ", "Authentications that can continue", "Server accepts key", "sign_and_send_pubkey: ", "Load key ", "debug", "agent key "}
