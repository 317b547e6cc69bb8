//go:build linux

package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
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

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
	"keyway/internal/unixsock"
)

// The test program plays every other program of the world: the node, and, found
// as "ssh" on PATH, an ssh whose behaviour the place's name chooses.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "node":
		os.Exit(playNode())
	case len(os.Args) > 2 && os.Args[1] == "link" && os.Args[2] == "guard":
		if err := Guard(os.Stdin); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
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
	case place == "breaks":
		if os.Remove(filepath.Join(os.Getenv("GUESTS"), "break")) == nil {
			fmt.Fprintln(os.Stderr, "ssh_dispatch_run_fatal: Connection to UNKNOWN port 65535: Broken pipe")
			return 255
		}
	case place == "denies":
		if _, err := os.Stat(filepath.Join(os.Getenv("GUESTS"), "denies")); err == nil {
			fmt.Fprintf(os.Stderr, "root@%s: Permission denied (publickey).\n", place)
			return 255
		}
	case place == "counts":
		f, err := os.OpenFile(os.Getenv("COUNT_FILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		fmt.Fprintln(f, "ssh", os.Getenv("SSH_AUTH_SOCK"))
		f.Close()
		for { // until nothing holds it up; who does not wait any more kills it
			if _, err := os.Stat(filepath.Join(os.Getenv("GUESTS"), "hang")); err != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return playNode()
}

// playedNode knows two workspaces: the guest of one knows streams, that of the
// other, called old, does not. Both echo, and live in the test itself.
type playedNode struct{ api.Node }

func (playedNode) List(context.Context) (api.Listing, error) {
	return api.Listing{Workspaces: []keyway.Workspace{{Name: "train", State: keyway.Running, Reason: strconv.Itoa(os.Getpid())}}}, nil
}

func (playedNode) Dial(_ context.Context, name keyway.Name) (net.Conn, error) {
	if name != "train" && name != "old" {
		return nil, keyway.Errorf(keyway.NotFound, "there is no workspace %s", name).Hint("keyway ls")
	}
	return unixsock.Dial(filepath.Join(os.Getenv("GUESTS"), string(name)))
}

// guest is a guest that knows streams.
type guest struct {
	key     ed25519.PrivateKey
	streams *stream.Server
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

// oldGuest speaks first, as SSH servers do, and ends when it is not answered in
// SSH. Then it echoes.
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

// hostKey is the guest's public key as known_hosts has it.
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
		ended <- Serve(ctx, l, Config{Program: exe, Socket: socket, Identity: "test", Log: slog.New(slog.DiscardHandler), Inherited: inherited})
	}()
	if w.client, err = Running(context.Background(), w.dir); err != nil {
		w.t.Fatal(err)
	}
}

// end ends the link.
func (w *world) end() {
	w.client.rt.CloseIdleConnections()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Serve: %v", err)
	}
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

// ssh is a connection to a workspace, as keyway proxy hands one to an ssh.
func (w *world) ssh(name keyway.Name) net.Conn {
	w.t.Helper()
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), "gpu1", name, w.guest.hostKey(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// A process that dies is replaced, and who was connected through it goes on.
func TestADeadWayIsMadeAnew(t *testing.T) {
	w := startWorld(t)
	conn := w.ssh("train")
	for i := range 5 {
		echo(t, conn, fmt.Sprintf("before %d", i))
		first := pid(t, w.node("gpu1"))
		if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		echo(t, conn, fmt.Sprintf("after %d", i))
		if second := pid(t, w.node("gpu1")); second == first {
			t.Error("the dead node answered")
		}
	}
	s := w.stream()
	if s.State != "up" || s.Stalls != 5 || s.Resumes != 5 {
		t.Errorf("%+v", s)
	}
}

// What is under way in both directions when the way dies arrives once.
// What kills a way again and again kills the attempts to bring it back, too; who
// calls then need not call twice.
func TestAWayIsTriedAgainSoonAfterItsFall(t *testing.T) {
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

func TestNothingIsLost(t *testing.T) {
	w := startWorld(t)
	conn := w.ssh("train")
	data := make([]byte, 20<<20)
	rand.Read(data)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if _, err := conn.Write(data); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(data))
	for part := range 20 {
		if _, err := io.ReadFull(conn, got[part<<20:][:1<<20]); err != nil {
			t.Fatal(err)
		}
		if part%5 == 0 {
			syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL)
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
}

// A way that has frozen still counts as up, and never ends by itself. Whoever
// needs it gets another, and who was on it moves there.
func TestAFrozenWayIsReplaced(t *testing.T) {
	w := startWorld(t)
	before := w.ssh("train")
	echo(t, before, "before")
	frozen := pid(t, w.node("gpu1"))
	freeze(t, frozen)
	defer syscall.Kill(frozen, syscall.SIGCONT)
	if pid(t, w.node("gpu1")) == frozen {
		t.Error("the frozen node answered")
	}
	echo(t, w.ssh("train"), "new")
	echo(t, before, "after")
}

// freeze stops a process, all of it.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := len(threads) > 0
		for _, file := range threads {
			stat, _ := os.ReadFile(file)
			stopped = stopped && bytes.Contains(stat, []byte(") T "))
		}
		if stopped {
			return
		}
	}
	t.Fatal("the process does not stop")
}

// A way that answers late is the way again, and the attempt to replace it ends.
func TestALateAnswerIsAnAnswer(t *testing.T) {
	w := startWorld(t)
	first := pid(t, w.node("counts"))
	freeze(t, first)
	w.hang(true) // whoever is to replace it takes for ever
	answered := make(chan int)
	go func() { answered <- pid(t, w.node("counts")) }()
	w.await("connecting")
	if err := syscall.Kill(first, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if second := <-answered; second != first {
		t.Errorf("process %d answered, not %d", second, first)
	}
	w.await("up")
}

// stream is the status of the only stream.
func (w *world) stream() StreamStatus {
	w.t.Helper()
	s, err := w.client.Status(context.Background())
	if err != nil || len(s.Places) != 1 || len(s.Places[0].Streams) != 1 {
		w.t.Fatalf("%+v, %v", s, err)
	}
	return s.Places[0].Streams[0]
}

// A node that was killed a moment ago is not noticed by the first who needs it.
func TestTheFirstStreamAfterAKillWorks(t *testing.T) {
	w := startWorld(t)
	for range 20 {
		if err := syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		conn, err := w.client.Stream(context.Background(), "gpu1", "train", w.guest.hostKey(), nil)
		if err != nil {
			t.Fatal(err)
		}
		echo(t, conn, "SSH-2.0-test\r\n")
		echo(t, conn, "and on")
		conn.Close()
	}
}

// A guest without streams gets what the ssh has said as it was, over a plain
// pipe.
func TestAnOldGuestGetsAPipe(t *testing.T) {
	w := startWorld(t)
	for _, hostKey := range []string{w.guest.hostKey(), ""} {
		w.node("gpu1")
		conn, err := w.client.Stream(context.Background(), "gpu1", "old", hostKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "SSH-2.0-test\r\n"); err != nil {
			t.Fatal(err)
		}
		want := "SSH-2.0-old\r\nSSH-2.0-test\r\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Errorf("with host key %q: %q, %v", hostKey, got, err)
		}
		echo(t, conn, "and on")
		if s := w.stream(); s.State != "" || s.Up != int64(len("SSH-2.0-test\r\nand on")) {
			t.Errorf("%+v", s)
		}
		conn.Close()
		w.noStream()
	}
}

// noStream waits until nothing is carried.
func (w *world) noStream() {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s, err := w.client.Status(context.Background()); err == nil && len(s.Places[0].Streams) == 0 {
			return
		}
	}
	w.t.Fatal("a stream has not ended")
}

// Whoever answers without the host key does not get a byte to the ssh.
func TestAnotherHostKeyIsRefused(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	other := guest{key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	conn, err := w.client.Stream(context.Background(), "gpu1", "train", other.hostKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "SSH-2.0-test\r\n")
	said, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(said), "does not hold its host key") {
		t.Errorf("%q, %v", said, err)
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
	conn := w.ssh("train").(*net.UnixConn)
	echo(t, conn, strings.Repeat("0123456789", 100_000))
	for deadline := time.Now().Add(10 * time.Second); w.stream().Down < 1_000_000 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // what was read is counted a moment later
	}
	if st := w.stream(); st.Workspace != "train" || st.Up != 1_000_000 || st.Down != 1_000_000 {
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
	conn, err := w.client.Stream(context.Background(), "gpu1", "other", w.guest.hostKey(), nil)
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
	if _, err := w.client.Stream(context.Background(), "down", "train", w.guest.hostKey(), nil); !keyway.Is(err, keyway.Unreachable) {
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
	conn := w.ssh("train")
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

// at is a connection to train at a place, brought up with somebody's help.
func (w *world) at(place keyway.Place, env map[string]string, p *person) net.Conn {
	w.t.Helper()
	if _, err := w.client.Place(context.Background(), place, env, p); err != nil {
		w.t.Fatal(err)
	}
	conn, err := w.client.Stream(context.Background(), place, "train", w.guest.hostKey(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// killWay kills the process that leads to the only place.
func (w *world) killWay() {
	w.t.Helper()
	s, err := w.client.Status(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Kill(s.Places[0].PID, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
}

// waits waits until the only stream waits for a reason that holds why.
func (w *world) waits(why string) {
	w.t.Helper()
	var s StreamStatus
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s = w.stream(); strings.Contains(s.Why, why) {
			return
		}
	}
	w.t.Fatalf("it waits for %+v, not for %q", s, why)
}

// A place that asks for a code when its way is made anew: the stream waits until
// somebody is there to answer, and asks nobody meanwhile.
func TestAQuestionThatNobodyHears(t *testing.T) {
	w := startWorld(t)
	conn := w.at("asks", nil, &person{answer: "123456"})
	echo(t, conn, "before")
	w.killWay()
	w.waits("One-time code for asks:; waiting for you: keyway status asks")
	p := &person{answer: "123456"}
	if _, err := w.client.Place(context.Background(), "asks", nil, p); err != nil {
		t.Fatal(err)
	}
	echo(t, conn, "after")
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}
}

// fakeAgent answers whoever asks what it holds.
func fakeAgent(t *testing.T, path string, keys byte) {
	t.Helper()
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, 5))
			c.Write([]byte{0, 0, 0, 5, agentIdentitiesAnswer, 0, 0, 0, keys})
			c.Close()
		}
	})
}

// A locked agent is waited for; a key that the place does not take any more is
// not.
func TestALockedAgentAndAWithdrawnKey(t *testing.T) {
	w := startWorld(t)
	agent := filepath.Join(w.dir, "agent")
	env := map[string]string{"SSH_AUTH_SOCK": agent}
	conn := w.at("denies", env, &person{})
	echo(t, conn, "before")
	denies := filepath.Join(w.dir, "denies")
	if err := os.WriteFile(denies, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.killWay()
	w.waits("waiting for you: keyway unlock")
	if err := os.Remove(denies); err != nil {
		t.Fatal(err)
	}
	echo(t, conn, "after")

	fakeAgent(t, agent, 1)
	if err := os.WriteFile(denies, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.killWay()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v instead of the end", rest, err)
	}
}

// While a stream stalls, its user sees why, and afterwards sees nothing of it.
func TestAStallIsShownOnTheTerminal(t *testing.T) {
	w := startWorld(t)
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	patience := time.AfterFunc(30*time.Second, func() { master.Close() })
	defer patience.Stop()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	first := pid(t, w.node("counts"))
	conn, err := w.client.Stream(context.Background(), "counts", "train", w.guest.hostKey(), tty)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn, "before")
	w.hang(true)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	shown := bufio.NewReader(master)
	if text, err := shown.ReadString('g'); err != nil || !strings.HasSuffix(text, "\x1b7\x1b[1;52H\x1b[0;2mstalled 3s: redialling") {
		t.Errorf("shown: %q, %v", text, err)
	}
	w.hang(false)
	echo(t, conn, "after")
	for text := ""; !strings.HasSuffix(text, "\x1b[m\x1b[29X\x1b8"); {
		b, err := shown.ReadByte()
		if err != nil {
			t.Fatalf("the line stays: %q, %v", text, err)
		}
		text += string(b)
	}
}

// hang makes every ssh to "counts" hang that starts from now on, or lets those
// that do go on.
func (w *world) hang(on bool) {
	w.t.Helper()
	lock := filepath.Join(w.dir, "hang")
	var err error
	if on {
		err = os.WriteFile(lock, nil, 0o600)
	} else {
		err = os.Remove(lock)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A new build takes the connections over: their sshs notice nothing, whatever is
// under way.
func TestHandOver(t *testing.T) {
	w := startWorld(t)
	busy, idle := w.ssh("train"), w.ssh("train")
	echo(t, idle, "before")
	fresh := w.ssh("train") // whose guest may not have answered yet
	io.WriteString(fresh, "SSH-2.0-te")
	data := make([]byte, 30<<20)
	rand.Read(data)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if _, err := busy.Write(data); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(data))
	for part := range 6 {
		if _, err := io.ReadFull(busy, got[part*5<<20:][:5<<20]); err != nil {
			t.Fatal(err)
		}
		if part%2 == 0 {
			old := w.ended
			w.client.rt.CloseIdleConnections()
			w.serve()
			if err := <-old; err != nil {
				t.Errorf("the old link: %v", err)
			}
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
	echo(t, idle, "after")
	io.WriteString(fresh, "st")
	first := make([]byte, len("SSH-2.0-test"))
	if _, err := io.ReadFull(fresh, first); err != nil || string(first) != "SSH-2.0-test" {
		t.Errorf("%q came back, %v", first, err)
	}
	s, err := w.client.Status(context.Background())
	if err != nil || len(s.Places) != 1 || len(s.Places[0].Streams) != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

// What a link that was killed cannot say any more, its guard says; after an
// orderly end there is nothing to say.
func TestTheGuardSpeaksForAKilledLink(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		end  func(*guard)
		says string
	}{
		{func(g *guard) { g.conn.Close(); g.cmd.Wait() }, "\r\r\nkeyway: the process that carried this connection (keyway link) was killed, and the connection to train with it\r\r\n"},
		{(*guard).stop, "the end"},
	} {
		master, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		g := &guard{program: exe}
		shown := newTerminal(int(tty.Fd()))
		g.add(shown, "train")
		g.add(shown, "gone")()
		c.end(g)
		io.WriteString(tty, "the end")
		got := make([]byte, len(c.says))
		if _, err := io.ReadFull(master, got); err != nil || string(got) != c.says {
			t.Errorf("%q, %v", got, err)
		}
		tty.Close()
		master.Close()
	}
}
