//go:build linux

package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/unixsock"
)

// TestADeadUplinkIsMadeAnew checks that a dead process of an uplink is replaced, and that
// connections over it continue.
func TestADeadUplinkIsMadeAnew(t *testing.T) {
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

func TestNothingIsLost(t *testing.T) {
	w := startWorld(t)
	for client, open := range w.clients() {
		t.Run(client, func(t *testing.T) { nothingIsLost(t, w, open("train")) })
	}
}

func nothingIsLost(t *testing.T, w *world, conn net.Conn) {
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

// TestAFrozenUplinkIsReplaced checks that new requests get another uplink if one is frozen, and
// that streams move there. A frozen uplink still counts as up, and never ends by itself.
func TestAFrozenUplinkIsReplaced(t *testing.T) {
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
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
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

// TestALateAnswerIsAnAnswer checks that the link uses a connection that answers late again, and
// ends the attempt to replace it.
func TestALateAnswerIsAnAnswer(t *testing.T) {
	w := startWorld(t)
	first := pid(t, w.node("counts"))
	freeze(t, first)
	w.hang(true) // its replacement never comes up
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

// stream returns the status of the only stream.
func (w *world) stream() StreamStatus {
	w.t.Helper()
	s, err := w.client.Status(context.Background())
	if err != nil || len(s.Places) != 1 || len(s.Places[0].Streams) != 1 {
		w.t.Fatalf("%+v, %v", s, err)
	}
	return s.Places[0].Streams[0]
}

// TestTheFirstStreamAfterAKillWorks checks that the next user of a node that was killed a moment
// ago does not notice that.
func TestTheFirstStreamAfterAKillWorks(t *testing.T) {
	w := startWorld(t)
	for range 20 {
		if err := syscall.Kill(pid(t, w.node("gpu1")), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "train", w.guest.hostKey()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		echo(t, conn, "SSH-2.0-test\r\n")
		echo(t, conn, "and on")
		conn.Close()
	}
}

// TestAnOldGuestGetsAPipe checks that a guest without streams gets the bytes of the ssh unchanged,
// over a plain pipe.
func TestAnOldGuestGetsAPipe(t *testing.T) {
	w := startWorld(t)
	for _, hostKey := range []string{w.guest.hostKey(), ""} {
		w.node("gpu1")
		conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "old", hostKey}, nil)
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

// noStream waits until nothing is proxied.
func (w *world) noStream() {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s, err := w.client.Status(context.Background()); err == nil && len(s.Places[0].Streams) == 0 {
			return
		}
	}
	w.t.Fatal("a stream has not ended")
}

// TestAnotherHostKeyIsRefused checks that no byte of a peer without the host key reaches the ssh.
func TestAnotherHostKeyIsRefused(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	other := guest{key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "train", other.hostKey()}, nil)
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

func TestStreamsProxyAndCount(t *testing.T) {
	w := startWorld(t)
	for client, open := range w.clients() {
		t.Run(client, func(t *testing.T) { proxiesAndCounts(t, w, open("train")) })
		w.noStream()
	}
}

func proxiesAndCounts(t *testing.T, w *world, conn net.Conn) {
	for range 100 { // pipes have room for a part of it
		echo(t, conn, strings.Repeat("0123456789", 1_000))
	}
	for deadline := time.Now().Add(time.Minute); w.stream().Down < 1_000_000 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the count follows a moment later
	}
	if st := w.stream(); st.Workspace != "train" || st.Up != 1_000_000 || st.Down != 1_000_000 {
		t.Errorf("%+v", st)
	}
	pipe.CloseWrite(conn)
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v after the end", rest, err)
	}
}

func TestAStreamSaysWhyItCannotBe(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "other", w.guest.hostKey()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "SSH-2.0-test\r\n")
	conn.CloseWrite()
	said, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(said), "the workspace other is not there; gpu1 says: \"there is no workspace other\". Next: [list-workspaces]") {
		t.Errorf("%q, %v", said, err)
	}
	if _, err := w.client.Stream(context.Background(), Guest{"down", "train", w.guest.hostKey()}, nil); !keyway.Is(err, keyway.Unreachable) {
		t.Errorf("got %v", err)
	}
}

// at returns a connection to train at a place. p answers the questions of its uplink.
func (w *world) at(place keyway.Place, env map[string]string, p *person) net.Conn {
	w.t.Helper()
	if _, err := w.client.Place(context.Background(), place, env, p); err != nil {
		w.t.Fatal(err)
	}
	conn, err := w.client.Stream(context.Background(), Guest{place, "train", w.guest.hostKey()}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// killWay kills the process of the only uplink.
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

// waits waits until the only stream stalls for a reason that contains why, with the given step.
func (w *world) waits(why, help string) {
	w.t.Helper()
	var s StreamStatus
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s = w.stream(); strings.Contains(s.Why, why) && s.Help == help {
			return
		}
	}
	w.t.Fatalf("it waits for %+v, not for %q", s, why)
}

// TestAQuestionThatNobodyHears checks a place that asks for a code when the link connects again:
// the stream waits until a user can answer, and no question is asked before.
func TestAQuestionThatNobodyHears(t *testing.T) {
	w := startWorld(t)
	conn := w.at("asks", nil, &person{answer: "123456"})
	echo(t, conn, "before")
	w.killWay()
	w.waits("One-time code for asks:", "[status-now asks]")
	p := &person{answer: "123456"}
	if _, err := w.client.Place(context.Background(), "asks", nil, p); err != nil {
		t.Fatal(err)
	}
	echo(t, conn, "after")
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}
}

// fakeAgent answers every request for its keys.
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

// TestALockedAgentAndARefusedKey checks that neither a locked agent nor a refused key ends open
// streams: the host's accounts may be unavailable, and the agent may get other keys. Then the
// uplink is tried at once. The agent is the one that ssh uses on that route, even if only ssh's
// configuration names it, whatever SSH_AUTH_SOCK is.
func TestALockedAgentAndARefusedKey(t *testing.T) {
	for name, c := range map[string]struct {
		usual string
		way   []string
	}{
		"of SSH_AUTH_SOCK":         {"agent", nil},
		"of SSH_AUTH_SOCK, listed": {"agent", []string{""}},
		"named":                    {"empty", []string{"agent"}},
		"named, and no other":      {"", []string{"agent"}},
		"of a jump host":           {"empty", []string{"agent", ""}},
	} {
		t.Run(name, func(t *testing.T) { agentsAndRefusals(t, c.usual, c.way) })
	}
}

func agentsAndRefusals(t *testing.T, usual string, way []string) {
	w := startWorld(t)
	in := func(name string) string {
		if name != "" {
			name = filepath.Join(w.dir, name)
		}
		return name
	}
	var agents []string
	for _, a := range way {
		agents = append(agents, in(a))
	}
	w.route.Store(&Route{Agents: agents})
	fakeAgent(t, in("empty"), 0)
	agent, env := in("agent"), map[string]string{"SSH_AUTH_SOCK": in(usual)}
	conn := w.at("denies", env, &person{})
	echo(t, conn, "before")
	denies := filepath.Join(w.dir, "denies")
	refuse := func() {
		t.Helper()
		if err := os.WriteFile(denies, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.killWay()
	}
	accept := func() {
		t.Helper()
		if err := os.Remove(denies); err != nil {
			t.Fatal(err)
		}
	}
	refuse()
	w.waits("the agent is locked", "[unlock-now]")
	accept()
	fakeAgent(t, agent, 1)
	echo(t, conn, "after")

	refuse()
	w.waits("does not accept your key", "[status-now denies]")
	accept()
	if _, err := w.client.Place(context.Background(), "denies", env, &person{}); err != nil {
		t.Fatal(err)
	}
	echo(t, conn, "at last")
}

// TestRefusalsAreTriedAgainSoonAndThenSeldom checks that a refused uplink is tried again soon, and
// later rarely enough for a host that counts five failures in ten minutes.
func TestRefusalsAreTriedAgainSoonAndThenSeldom(t *testing.T) {
	begin := time.Now()
	var at retry
	now := begin
	var tries []time.Time
	for range 12 {
		tries = append(tries, now)
		at = at.after(keyway.Errorf(keyway.Denied, "no"), now)
		now = at.next
	}
	if soon := tries[1].Sub(begin); soon > 5*time.Second {
		t.Errorf("tried again only after %v", soon)
	}
	for i := range tries[4:] {
		if window := tries[i+4].Sub(tries[i]); window < 10*time.Minute {
			t.Errorf("five tries in %v", window)
		}
	}
	for _, err := range []error{nil, context.Canceled, keyway.Errorf(keyway.Unreachable, "down"), keyway.Errorf(keyway.Interrupted, "stopped")} {
		if got := (retry{}).after(err, begin); got != (retry{}) {
			t.Errorf("after %v it waits until %v", err, got.next)
		}
	}
}

// TestAStallIsShownOnTheTerminal checks that the user of a stalled stream sees why it stalls, and
// afterwards sees nothing of that.
func TestAStallIsShownOnTheTerminal(t *testing.T) {
	w := startWorld(t)
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	timeout := time.AfterFunc(time.Minute, func() { master.Close() })
	defer timeout.Stop()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	first := pid(t, w.node("counts"))
	conn, err := w.client.Stream(context.Background(), Guest{"counts", "train", w.guest.hostKey()}, tty)
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

// hang makes every new ssh to "counts" hang, or lets the hanging ones continue.
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

// TestHandOver checks that a new build takes the connections over, and that their ssh processes
// notice nothing, whatever is under way.
func TestHandOver(t *testing.T) {
	w := startWorld(t)
	for client, open := range w.clients() {
		t.Run(client, func(t *testing.T) { handsOver(t, w, open) })
		w.noStream()
	}
}

func handsOver(t *testing.T, w *world, open func(keyway.Name) net.Conn) {
	busy, idle := open("train"), open("train")
	defer busy.Close()
	defer idle.Close()
	echo(t, idle, "before")
	fresh := open("train") // its guest may not have answered yet
	defer fresh.Close()
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

// TestTheGuardSpeaksForAKilledLink checks that the guard speaks for a link that was killed, and
// that it prints nothing after an orderly end.
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
		shown := newScreen(int(tty.Fd()))
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

// TestANodeThatEndsAtOnce checks that, for one question, the link starts a node that ends right
// after its greeting only a few times.
func TestANodeThatEndsAtOnce(t *testing.T) {
	w := startWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		node, err := w.client.Place(ctx, "ends", nil, &person{})
		if err != nil { // it ended before it was up
			if ctx.Err() != nil || !strings.Contains(err.Error(), "out of memory") {
				t.Fatal(err)
			}
			continue
		}
		_, err = node.List(ctx)
		if err == nil || !strings.Contains(err.Error(), "out of memory") {
			t.Errorf("%v", err)
		}
		return
	}
}

// TestAWayWithoutAnEnd checks that the link does not try a circular route, for which ssh would
// start one ssh after the other.
func TestAWayWithoutAnEnd(t *testing.T) {
	w := startWorld(t)
	w.route.Store(&Route{Endless: keyway.Errorf(keyway.BadConfig, "it leads in a circle")})
	_, err := w.client.Place(t.Context(), "counts", nil, &person{})
	if !keyway.Is(err, keyway.BadConfig) {
		t.Errorf("%v", err)
	}
	if count, _ := os.ReadFile(filepath.Join(w.dir, "count")); len(count) > 0 {
		t.Errorf("it ran %s", count)
	}
}

// heard is a user interface that records the reports.
type heard struct {
	person
	news []string
}

func (h *heard) Progress(p keyway.Progress) { h.news = append(h.news, p.Message) }

// TestAnSSHApartIsNamedAtFirst checks that only the first command whose route contains an ssh that the link
// cannot prepare reports it.
func TestAnSSHApartIsNamedAtFirst(t *testing.T) {
	w := startWorld(t)
	ssh, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	ssh = strings.TrimSuffix(ssh, "true") + "ssh"
	w.route.Store(&Route{Commands: []string{"bastion"}, Proxies: []string{"env -i " + ssh + " -W %h:%p x"}})
	for i, want := range []int{1, 0} {
		var h heard
		if _, err := w.client.Place(t.Context(), "gpu1", nil, &h); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(strings.Join(h.news, "\n"), "starts "+ssh+" by that path for bastion"); got != want {
			t.Errorf("connection %d: %q", i, h.news)
		}
	}
}
