//go:build linux

package link

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/stream"
	"keyway/internal/unixsock"
)

// TestMain lets the test program act as the other programs that a test needs: as the node and,
// under the name ssh on PATH, as an ssh whose behaviour depends on the place's name.
func TestMain(m *testing.M) {
	if ssh, err := filepath.EvalSymlinks(os.Getenv(hopSSHEnv)); err == nil && filepath.Base(ssh) == "ssh" {
		if code, ok := Hop(os.Args); ok { // of a test with OpenSSH's own
			os.Exit(code)
		}
	}
	switch {
	case slices.Contains(os.Args, "-G"):
		os.Exit(0)
	case len(os.Args) > 1 && os.Args[1] == "node":
		os.Exit(playNode())
	case len(os.Args) > 2 && os.Args[1] == "link" && os.Args[2] == "guard":
		if err := Guard(os.Stdin, (*keyway.Error).Help); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) > 2 && os.Args[1] == "unanswered":
		os.Exit(playUnanswered(os.Args[2]))
	case len(os.Args) > 2 && os.Args[1] == "half":
		os.Exit(playHalf(os.Args[2]))
	case filepath.Base(os.Args[0]) == "ssh":
		os.Exit(playSSH(os.Args[1:]))
	}
	if code, ok := Askpass(context.Background(), os.Args[1:], func(string) bool { return false }, os.Stdout); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

func playNode() int {
	fmt.Print(api.Greeting())
	conn := pipe.Conn(os.Stdin, os.Stdout, func() error { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) })
	if err := api.ServeConn(context.Background(), conn, api.NewHandler(playedNode{})); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playSSH acts as an ssh to a place whose name tells the behaviour.
func playSSH(args []string) int {
	if slices.Contains(args, "-N") {
		return playForward(args)
	}
	place := args[len(args)-2] // before the command
	say := func(format string, words ...any) int {
		text := fmt.Sprintf(format+"\r\n", words...)
		if err := os.WriteFile(args[slices.Index(args, "-E")+1], []byte(text), 0o600); err != nil {
			panic(err)
		}
		return 255
	}
	switch {
	case place == "down":
		return say("ssh: connect to host 10.0.0.1 port 22: Connection refused")
	case place == "silent":
		time.Sleep(time.Hour)
	case place == "ends":
		fmt.Print(api.Greeting())
		fmt.Fprintln(os.Stderr, "out of memory")
		return 1
	case place == "greets":
		fmt.Fprintln(os.Stderr, "Authorised use only.")
	case strings.HasPrefix(place, "asks"):
		if place == "asks-slowly" {
			fmt.Fprintln(os.Stderr, "To authenticate, visit: https://login.example.org/1")
			time.Sleep(2 * quietTime)
		}
		ask := exec.Command(os.Getenv("SSH_ASKPASS"), "One-time code for "+place+":")
		answer, err := ask.Output()
		if err != nil || strings.TrimSpace(string(answer)) != "123456" {
			return say("root@%s: Permission denied (keyboard-interactive).", place)
		}
	case place == "breaks":
		if os.Remove(filepath.Join(os.Getenv("GUESTS"), "break")) == nil {
			return say("ssh_dispatch_run_fatal: Connection to UNKNOWN port 65535: Broken pipe")
		}
	case place == "denies":
		if _, err := os.Stat(filepath.Join(os.Getenv("GUESTS"), "denies")); err == nil {
			return say("root@%s: Permission denied (publickey).", place)
		}
	case place == "counts":
		f, err := os.OpenFile(os.Getenv("COUNT_FILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		fmt.Fprintln(f, "ssh", os.Getenv("SSH_AUTH_SOCK"))
		f.Close()
		for { // until nothing delays it; a caller that gives up kills it
			if _, err := os.Stat(filepath.Join(os.Getenv("GUESTS"), "hang")); err != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return playNode()
}

// playedNode has two workspaces: the guest of one supports streams, and that of the other, called
// old, does not. Both echo, and live in the test itself.
type playedNode struct{ api.Node }

func (playedNode) Info(context.Context) (api.Info, error) { return api.Info{OS: "linux"}, nil }

func (playedNode) List(context.Context) (api.Listing, error) {
	return api.Listing{Workspaces: []keyway.Workspace{{Name: "train", State: keyway.Running, Reason: strconv.Itoa(os.Getpid())}}}, nil
}

func (playedNode) Stop(context.Context, keyway.Name, time.Duration) error { return nil }

func (playedNode) Remove(context.Context, keyway.Name) error { return nil }

// Purge reports that the workspace does not exist.
func (playedNode) Purge(_ context.Context, name keyway.Name) error {
	return keyway.Errorf(keyway.NotFound, "there is no workspace %s", name)
}

func (playedNode) Undo(context.Context, keyway.Name) error { return nil }

// Start is refused, as an engine refuses a login without permission.
func (playedNode) Start(context.Context, keyway.Name) error {
	return keyway.Errorf(keyway.EngineForbidden, "you may not use Docker here")
}

func (playedNode) Dial(_ context.Context, name keyway.Name) (net.Conn, error) {
	if name != "train" && name != "old" {
		return nil, keyway.Errorf(keyway.NotFound, "there is no workspace %s", name).Hint("keyway ls")
	}
	return unixsock.Dial(filepath.Join(os.Getenv("GUESTS"), string(name)))
}

// guest is a guest that supports streams.
type guest struct {
	key     ed25519.PrivateKey
	streams *stream.Server
	visits  atomic.Int64 // streams accepted so far
	all     sync.WaitGroup
	l, old  net.Listener
}

func startGuest(t *testing.T, dir string) *guest {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{key: key}
	if g.streams, err = stream.NewServer(stream.ServerConfig{HostKey: key}); err != nil {
		t.Fatal(err)
	}
	if g.l, err = unixsock.Listen(filepath.Join(dir, "train"), 0o600); err != nil {
		t.Fatal(err)
	}
	if g.old, err = unixsock.Listen(filepath.Join(dir, "old"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.serve(g.l.Accept, func(c net.Conn) { g.streams.Handle(context.Background(), c) })
	g.serve(g.old.Accept, oldGuest)
	g.serve(func() (net.Conn, error) { return g.streams.Accept() }, func(c net.Conn) {
		g.visits.Add(1)
		io.Copy(c, c)
		c.Close()
	})
	return g
}

func (g *guest) serve(accept func() (net.Conn, error), each func(net.Conn)) {
	g.all.Go(func() {
		for {
			c, err := accept()
			if err != nil {
				return
			}
			g.all.Go(func() { each(c) })
		}
	})
}

// oldGuest sends its version first, as SSH servers do, and ends if the answer is not SSH. Then it
// echoes.
func oldGuest(c net.Conn) {
	defer c.Close()
	io.WriteString(c, "SSH-2.0-old\r\n")
	r := bufio.NewReader(c)
	if first, _ := r.Peek(4); string(first) != "SSH-" {
		return
	}
	io.Copy(c, r)
}

func (g *guest) stop() {
	g.l.Close()
	g.old.Close()
	g.streams.Close()
	g.all.Wait()
}

// hostKey returns the guest's public key as in known_hosts.
func (g *guest) hostKey() string {
	key, err := ssh.NewPublicKey(g.key.Public())
	if err != nil {
		panic(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// world is a link in this process.
type world struct {
	t      *testing.T
	dir    string
	client *Client
	guest  *guest
	stop   context.CancelFunc
	ended  <-chan error
	route  atomic.Pointer[Route] // of every place; nil: unknown
}

func startWorld(t *testing.T) *world {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir()}
	if err := os.Symlink(exe, filepath.Join(w.dir, "ssh")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", w.dir+":"+os.Getenv("PATH"))
	t.Setenv("COUNT_FILE", filepath.Join(w.dir, "count"))
	t.Setenv("GUESTS", w.dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // of the programs that the test program plays
	w.guest = startGuest(t, w.dir)
	t.Cleanup(w.guest.stop)
	w.serve()
	t.Cleanup(w.end)
	return w
}

// serve starts the link, or its successor.
func (w *world) serve() {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	socket := filepath.Join(w.dir, SocketName)
	inherited, err := TakeOver(context.Background(), socket)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	ended := make(chan error, 1)
	w.ended = ended
	go func() {
		ended <- Serve(ctx, l, Config{Program: exe, Node: exe, Socket: socket, Identity: "test", Log: slog.New(slog.DiscardHandler), Inherited: inherited, Next: stepsOf, Route: w.routeTo})
	}()
	if w.client, err = Running(context.Background(), w.dir, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) routeTo(context.Context, keyway.Place) (r Route) {
	if set := w.route.Load(); set != nil {
		r = *set
	}
	return r
}

// stepsOf replaces a face: it returns the names of the steps.
func stepsOf(e *keyway.Error) string {
	text := e.Next
	for _, a := range e.Advice {
		text += fmt.Sprint(append([]string{string(a.Step)}, a.About...))
	}
	return text
}

// end ends the link.
func (w *world) end() {
	w.client.rt.CloseIdleConnections()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Serve: %v", err)
	}
}

// person answers questions with a text, and records messages and questions.
type person struct {
	answer string
	mu     sync.Mutex
	asked  []string
	said   []api.Words
	again  []api.Words   // with the last question
	wait   chan struct{} // if not nil, answers only when it is closed
}

func (p *person) Progress(keyway.Progress) {}

func (p *person) Said(w api.Words) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, w)
}

func (p *person) Ask(ctx context.Context, q api.Question) (api.Answer, error) {
	p.mu.Lock()
	p.asked, p.again = append(p.asked, q.Prompt), q.Said
	p.mu.Unlock()
	if p.wait != nil {
		<-p.wait
	}
	if p.answer == "" {
		return api.Answer{}, keyway.Errorf(keyway.NeedsAnswer, "nobody is here")
	}
	return api.Answer{OK: true, Text: p.answer}, nil
}

func (w *world) node(place keyway.Place) *api.Client {
	w.t.Helper()
	n, err := w.client.Place(context.Background(), place, nil, &person{})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// pid returns the process of the node at place.
func pid(t *testing.T, n *api.Client) int {
	t.Helper()
	list, err := n.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(list.Workspaces[0].Reason)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestOneUplinkForMany(t *testing.T) {
	w := startWorld(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := w.client.Place(context.Background(), "counts", map[string]string{"SSH_AUTH_SOCK": "/agent", "EVIL": "x"}, &person{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count, err := os.ReadFile(filepath.Join(w.dir, "count"))
	if err != nil || string(count) != "ssh /agent\n" {
		t.Errorf("ran %q, %v", count, err)
	}
}

func TestTheLocalPlaceNeedsNoSSH(t *testing.T) {
	w := startWorld(t)
	if pid(t, w.node(keyway.Local)) == 0 {
		t.Error("no node")
	}
}

// ssh returns a connection to a workspace, as keyway proxy hands one to an ssh.
func (w *world) ssh(name keyway.Name) net.Conn {
	w.t.Helper()
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), Guest{"gpu1", name, w.guest.hostKey()}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// TestAnUplinkIsTriedAgainSoonAfterItsFall checks that bytes under way in both directions arrive
// once when the uplink dies. An event that kills uplinks repeatedly also kills the attempts to
// connect again. A caller then does not have to call twice.
func TestAnUplinkIsTriedAgainSoonAfterItsFall(t *testing.T) {
	w := startWorld(t)
	broken := filepath.Join(os.Getenv("GUESTS"), "break")
	shatter := func() {
		if err := os.WriteFile(broken, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shatter()
	if _, err := w.client.Place(context.Background(), "breaks", nil, &person{}); !keyway.Is(err, keyway.Unreachable) {
		t.Fatalf("the first call of a place that breaks: %v", err)
	}
	first := pid(t, w.node("breaks"))
	shatter()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.await("down")
	if again := pid(t, w.node("breaks")); again == first {
		t.Error("the same node answers")
	}
	if _, err := os.Stat(broken); err == nil {
		t.Error("nothing broke")
	}
}

func echo(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("%q came back, %v", got, err)
	}
}

func TestSSHAsksThePersonAtTheCommand(t *testing.T) {
	w := startWorld(t)
	p := &person{answer: "123456"}
	if _, err := w.client.Place(context.Background(), "asks1", nil, p); err != nil {
		t.Fatal(err)
	}
	if len(p.asked) != 1 || p.asked[0] != "One-time code for asks1:" {
		t.Errorf("asked %q", p.asked)
	}
	if _, err := w.client.Place(context.Background(), "asks2", nil, &person{answer: "wrong"}); !keyway.Is(err, keyway.Denied) {
		t.Errorf("a wrong code: %v", err)
	}
	if _, err := w.client.Place(context.Background(), "asks3", nil, &person{}); !keyway.Is(err, keyway.NeedsAnswer) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestTheFirstAnswerCounts checks that two commands that wait for one ssh both see its question,
// and that one answer is enough.
func TestTheFirstAnswerCounts(t *testing.T) {
	w := startWorld(t)
	slow, quick := &person{answer: "wrong", wait: make(chan struct{})}, &person{answer: "123456"}
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := w.client.Place(context.Background(), "asks", nil, slow); err != nil {
			t.Errorf("the slow one: %v", err)
		}
	})
	for { // until the slow one has been asked
		slow.mu.Lock()
		asked := len(slow.asked)
		slow.mu.Unlock()
		if asked > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	both.Go(func() {
		if _, err := w.client.Place(context.Background(), "asks", nil, quick); err != nil {
			t.Errorf("the quick one: %v", err)
		}
		close(slow.wait)
	})
	both.Wait()
}

// TestNobodyWaitsAnyMore checks that the ssh to a place ends when the only command that waits for
// it is interrupted.
func TestNobodyWaitsAnyMore(t *testing.T) {
	w := startWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := w.client.Place(ctx, "silent", nil, &person{})
		result <- err
	}()
	w.await("connecting")
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.await("down")
}

// await waits until the only place is in state.
func (w *world) await(state string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s, err := w.client.Status(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(s.Places) == 1 && s.Places[0].State == state {
			return
		}
	}
	w.t.Fatalf("the place did not get %s", state)
}

func TestStopEndsEverything(t *testing.T) {
	w := startWorld(t)
	conn := w.ssh("train")
	if err := w.client.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if _, err := Running(context.Background(), w.dir, nil); err == nil {
		t.Error("it still answers")
	}
}

func TestAskpassNeedsTheSecret(t *testing.T) {
	w := startWorld(t)
	err := newClient(w.client.socket).Do(context.Background(), http.MethodPost, "/v1/askpass", askpassRequest{Secret: "guessed", Prompt: "x"}, nil)
	if !keyway.Is(err, keyway.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestReadUpgradeTakesNoByteTooMuch(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("HTTP/1.1 101 Switching Protocols\r\nUpgrade: keyway-stream\r\n\r\nSSH-2.0-x\r\n"))
	if err := readUpgrade(r); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "SSH-2.0-x\r\n" {
		t.Errorf("%q is left", rest)
	}
	if err := readUpgrade(strings.NewReader(strings.Repeat("x", maxUpgradeAnswer+1))); err == nil {
		t.Error("an endless answer was accepted")
	}
}
