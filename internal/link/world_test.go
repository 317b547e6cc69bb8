//go:build linux

package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// The test program plays every other program of the world: the node, and, found
// as "ssh" on PATH, an ssh whose behaviour the place's name chooses.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "node":
		os.Exit(playNode())
	case filepath.Base(os.Args[0]) == "ssh":
		os.Exit(playSSH(os.Args[1:]))
	}
	if code, ok := Askpass(context.Background(), os.Args[1:], func(string) bool { return false }, os.Stdout); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

func playNode() int {
	fmt.Print(Greeting())
	conn := api.PipeConn(os.Stdin, os.Stdout, func() error { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) })
	if err := api.ServeConn(context.Background(), conn, api.NewHandler(playedNode{})); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playSSH is an ssh to a place called after what shall happen.
func playSSH(args []string) int {
	place := args[len(args)-2] // before the command
	switch {
	case place == "down":
		fmt.Fprintln(os.Stderr, "ssh: connect to host 10.0.0.1 port 22: Connection refused")
		return 255
	case place == "silent":
		time.Sleep(time.Hour)
	case strings.HasPrefix(place, "asks"):
		ask := exec.Command(os.Getenv("SSH_ASKPASS"), "One-time code for "+place+":")
		answer, err := ask.Output()
		if err != nil || strings.TrimSpace(string(answer)) != "123456" {
			fmt.Fprintf(os.Stderr, "root@%s: Permission denied (keyboard-interactive).\n", place)
			return 255
		}
	case place == "counts":
		f, err := os.OpenFile(os.Getenv("COUNT_FILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		fmt.Fprintln(f, "ssh", os.Getenv("SSH_AUTH_SOCK"))
		f.Close()
	}
	return playNode()
}

// playedNode knows one workspace, whose guest is an echo.
type playedNode struct{ api.Node }

func (playedNode) List(context.Context) (api.Listing, error) {
	return api.Listing{Workspaces: []keyway.Workspace{{Name: "train", State: keyway.Running, Reason: strconv.Itoa(os.Getpid())}}}, nil
}

func (playedNode) Dial(_ context.Context, name keyway.Name) (net.Conn, error) {
	if name != "train" {
		return nil, keyway.Errorf(keyway.NotFound, "there is no workspace %s", name).Hint("keyway ls")
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "guest")
		if ends[i], err = net.FileConn(f); err != nil {
			return nil, err
		}
		f.Close()
	}
	go func() {
		io.Copy(ends[1], ends[1])
		ends[1].Close()
	}()
	return ends[0], nil
}

// world is a link in this process.
type world struct {
	t      *testing.T
	dir    string
	client *Client
	stop   context.CancelFunc
	ended  chan error
}

func startWorld(t *testing.T) *world {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	if err := os.Symlink(exe, filepath.Join(w.dir, "ssh")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", w.dir+":"+os.Getenv("PATH"))
	t.Setenv("COUNT_FILE", filepath.Join(w.dir, "count"))
	socket := filepath.Join(w.dir, SocketName)
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		w.ended <- Serve(ctx, l, Config{Program: exe, Socket: socket, Identity: "test", Log: slog.New(slog.DiscardHandler)})
	}()
	if w.client, err = Running(context.Background(), w.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.client.rt.CloseIdleConnections()
		stop()
		if err := <-w.ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

// person answers questions with a text, and keeps what was told and asked.
type person struct {
	answer string
	mu     sync.Mutex
	asked  []string
	wait   chan struct{} // if not nil, answers only when it is closed
}

func (p *person) Progress(keyway.Progress) {}

func (p *person) Ask(ctx context.Context, q api.Question) (api.Answer, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q.Prompt)
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

// pid is the process of the node at place.
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

func TestOneWayForMany(t *testing.T) {
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

// A process that dies, on either side, is replaced when next it is needed.
func TestADeadWayIsMadeAnew(t *testing.T) {
	w := startWorld(t)
	first := pid(t, w.node("gpu1"))
	conn, err := w.client.Stream(context.Background(), "gpu1", "train")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn, "before")
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil { // the stream ends with its way
		t.Error(err)
	}
	if second := pid(t, w.node("gpu1")); second == first {
		t.Error("the dead node answered")
	}
}

// A node that was killed a moment ago is not noticed by the first who needs it.
func TestTheFirstStreamAfterAKillWorks(t *testing.T) {
	w := startWorld(t)
	for range 20 {
		if err := syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		conn, err := w.client.Stream(context.Background(), "gpu1", "train")
		if err != nil {
			t.Fatal(err)
		}
		echo(t, conn, "SSH-2.0-test\r\n")
		echo(t, conn, "and on")
		conn.Close()
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

func TestStreamsCarryAndCount(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), "gpu1", "train")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn, strings.Repeat("0123456789", 100_000))
	s, err := w.client.Status(context.Background())
	if err != nil || len(s.Places) != 1 || len(s.Places[0].Streams) != 1 || s.Places[0].State != "up" {
		t.Fatalf("%+v, %v", s, err)
	}
	if st := s.Places[0].Streams[0]; st.Workspace != "train" || st.Up != 1_000_000 || st.Down != 1_000_000 {
		t.Errorf("%+v", st)
	}
	conn.CloseWrite()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v after the end", rest, err)
	}
}

func TestAStreamSaysWhyItCannotBe(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), "gpu1", "other")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "SSH-2.0-test\r\n")
	conn.CloseWrite()
	said, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(said), "there is no workspace other. Next: keyway ls") {
		t.Errorf("%q, %v", said, err)
	}
	if _, err := w.client.Stream(context.Background(), "down", "train"); !keyway.Is(err, keyway.Unreachable) {
		t.Errorf("got %v", err)
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

// Two commands wait for one ssh: both see the question, one answer is enough.
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

// Ctrl-C at the only command that waits for a place ends the ssh to it.
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
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
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
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), "gpu1", "train")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := w.client.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if _, err := Running(context.Background(), w.dir); err == nil {
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
