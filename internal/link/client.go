package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"keyway/internal/api"
	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// SocketName is the file name of the link's socket in the runtime directory.
const SocketName = "link.sock"

// Client is a command's access to the link.
type Client struct {
	socket string
	api    *api.Client // of the link itself
	rt     *http.Transport
	look   time.Duration // 0: stopLook
}

// UI is the link's access to the person at the command.
type UI interface {
	Progress(keyway.Progress)
	// Said shows the words of a host on the route.
	Said(api.Words)
	// Ask asks the person. If no user can be asked, it returns the zero Answer and an error.
	Ask(context.Context, api.Question) (api.Answer, error)
}

func newClient(socket string) *api.Client {
	return api.NewClient(unixTransport(socket), "http://link")
}

func unixTransport(socket string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialLink(socket)
	}}
}

// Open connects to the user's link, and starts program's if there is none. If the running link is
// of another build or in fewer groups than this process, the new one takes its connections over.
// runtime is the directory of the socket, log the file for messages. report is called about a link
// that is slow to answer. A link that does not answer at all is an error for which Unanswered is
// true.
func Open(ctx context.Context, runtime, program, log string, report func(keyway.Progress)) (*Client, error) {
	socket := filepath.Join(runtime, SocketName)
	c := &Client{socket: socket, rt: unixTransport(socket)}
	c.api = api.NewClient(untilStopped{c}, "http://link")
	s, err := c.first(ctx, report)
	switch {
	case err == nil && (s.current(program, groups()) || s.stuck()):
		return c, nil // the older link keeps its connections; both speak the same version of the API or report that they do not
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case Unanswered(err):
		return nil, err
	}
	unlock, err := filelock.Lock(filepath.Join(runtime, "link.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	c.rt.CloseIdleConnections() // another command may have replaced the link meanwhile
	s, err = c.first(ctx, report)
	switch {
	case err == nil && (s.current(program, groups()) || s.stuck()):
		return c, nil // another command was quicker
	case Unanswered(err):
		return nil, err
	case err == nil && !s.Movable:
		if err := c.Stop(ctx); err != nil {
			return nil, err
		}
	}
	err = spawn(program, log)
	c.rt.CloseIdleConnections() // the link before ends them
	return c, err
}

// current reports whether the link is of that build and in each of the groups: a link that was
// started before its user became a member of the group docker cannot use it for this machine.
func (s Status) current(program string, groups []int) bool {
	return s.Identity == Identity(program) && !slices.ContainsFunc(groups, func(g int) bool { return !slices.Contains(s.Groups, g) })
}

// groups returns the groups of this process; none on systems without groups.
func groups() []int {
	list, err := os.Getgroups()
	if err != nil {
		return nil
	}
	return append(list, os.Getegid())
}

// stuck reports whether the link cannot be replaced now: it is bringing up an uplink, or has
// connections that it cannot hand over.
func (s Status) stuck() bool {
	for _, p := range s.Places {
		if p.State == "connecting" && len(p.Streams) == 0 {
			return true
		}
		for _, st := range p.Streams {
			if !s.Movable || st.State == "" {
				return true
			}
		}
	}
	return false
}

// Ready is the line that a link prints on its standard output once it listens.
const Ready = "keyway-link ready"

// spawn starts the link's process and waits until it listens.
func spawn(program, log string) error {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "the link's log cannot be written: %w", err)
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(program, "link", "serve")
	cmd.Stdout, cmd.Stderr = w, out
	cmd.Dir = filepath.Dir(log) // not the user's working directory: that may be unmounted
	detach(cmd)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return keyway.Errorf(keyway.Other, "the link cannot be started: %w", err)
	}
	defer cmd.Process.Release()
	line, err := bufio.NewReader(r).ReadString('\n')
	if strings.TrimSpace(line) == Ready {
		return nil
	}
	if line == "" && err != nil {
		line = "it ended at once; see " + log
	}
	return keyway.Errorf(keyway.Other, "the link did not start: %s", strings.TrimSpace(line))
}

// Running connects to the user's link without starting one. report is as for Open.
func Running(ctx context.Context, runtime string, report func(keyway.Progress)) (*Client, error) {
	socket := filepath.Join(runtime, SocketName)
	c := &Client{socket: socket, rt: unixTransport(socket)}
	c.api = api.NewClient(untilStopped{c}, "http://link")
	_, err := c.first(ctx, report)
	return c, err
}

// Status returns the state of the link.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.api.Do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Stop ends the link and all its streams. It returns when the link has ended.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.api.Do(ctx, http.MethodPost, "/v1/stop", nil, nil); err != nil {
		return err
	}
	c.rt.CloseIdleConnections()
	return awaitGone(ctx, c.socket)
}

// Place brings up the uplink to place, reporting to and asking the person through ui. It returns
// the place's node.
func (c *Client) Place(ctx context.Context, place keyway.Place, env map[string]string, ui UI) (*api.Client, error) {
	base := "/v1/places/" + url.PathEscape(string(place))
	asking, stopAsking := context.WithCancel(ctx)
	defer stopAsking()
	var unanswered error
	_, err := c.api.Events(ctx, http.MethodPost, base+"/connect", ConnectRequest{Env: env, Timeout: timeout(ctx)}, func(e api.Event) {
		switch {
		case e.Progress != nil:
			ui.Progress(*e.Progress)
		case e.Words != nil:
			ui.Said(*e.Words)
		case e.Question != nil:
			answer, err := ui.Ask(asking, *e.Question)
			if err != nil {
				unanswered = err
			}
			c.api.Do(ctx, http.MethodPost, base+"/answer", answerRequest{ID: e.Question.ID, Answer: answer}, nil)
		}
	})
	if err != nil {
		if unanswered != nil && ctx.Err() == nil {
			return nil, unanswered
		}
		return nil, err
	}
	return api.NewClient(patient{untilStopped{c}, place, ui.Progress}, "http://link"+base), nil
}

// timeout returns the time that the link may try, so that it can report why it has waited; 0 means
// as long as a command waits.
func timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	return max(left-min(left/10, time.Second), time.Millisecond)
}

// maxUpgradeAnswer bounds the head of the answer to an upgrade in bytes.
const maxUpgradeAnswer = 8 << 10

// Guest names the guest that a stream leads to.
type Guest struct {
	Place   keyway.Place
	Name    keyway.Name // of the workspace
	HostKey string      // the guest's, as in known_hosts; without one, nothing proves which guest answers
}

// Stream returns a connection to the link that has become the byte stream to a guest. Nothing of
// the stream has been read from it yet, so its descriptor may be passed to another process. News of
// the connection is shown on terminal, if that is a terminal and not nil.
func (c *Client) Stream(ctx context.Context, to Guest, terminal *os.File) (*net.UnixConn, error) {
	if terminal != nil && !term.IsTerminal(int(terminal.Fd())) {
		terminal = nil
	}
	return c.upgrade(ctx, streamProtocol, to, passedNews{terminal, inItsPlace})
}

// StreamWithNews is Stream for a program that gives the connection to several users. It reads from
// news what the link would show on the terminal of one (docs/PROTOCOL.api.md), until the connection
// has ended. An earlier link tells nothing.
func (c *Client) StreamWithNews(ctx context.Context, to Guest) (conn *net.UnixConn, news *os.File, err error) {
	news, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	if conn, err = c.upgrade(ctx, streamProtocol, to, passedNews{w, inLines}); err != nil {
		news.Close()
	}
	return conn, news, err
}

// passedNews is what the link writes news to, which may be nil, and the value of headerTerminal.
type passedNews struct {
	to   *os.File
	form string
}

// upgrade asks the link for a stream by protocol, and passes news to it.
func (c *Client) upgrade(ctx context.Context, protocol string, to Guest, news passedNews) (*net.UnixConn, error) {
	conn, err := dialLink(c.socket)
	if err != nil {
		return nil, keyway.Errorf(keyway.Other, "the link does not answer: %w", err)
	}
	ctx, end := c.whileRunning(ctx)
	defer end()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	shown := news.to != nil && runtime.GOOS != "windows"
	fmt.Fprintf(conn, "POST /v1/places/%s/v1/workspaces/%s/stream HTTP/1.1\r\nHost: link\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n",
		url.PathEscape(string(to.Place)), url.PathEscape(string(to.Name)), protocol, headerHostKey, strings.Join(strings.Fields(to.HostKey), " "))
	if shown {
		fmt.Fprintf(conn, "%s: %s\r\n", headerTerminal, news.form)
	}
	fmt.Fprint(conn, "\r\n")
	err = readUpgrade(conn)
	if err == nil && shown {
		err = passTerminal(conn, int(news.to.Fd()))
	}
	if err != nil {
		conn.Close()
		return nil, orStopped(ctx, err)
	}
	return conn, nil
}

// readUpgrade reads the head of the answer and no byte more.
func readUpgrade(conn io.Reader) error {
	var head []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		if _, err := io.ReadFull(conn, one); err != nil {
			return keyway.Errorf(keyway.Other, "the link closed the connection: %w", err)
		}
		if head = append(head, one[0]); len(head) > maxUpgradeAnswer {
			return errors.New("the link's answer is too long")
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader(string(head)), conn)), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return api.ReadError(resp)
	}
	return nil
}
