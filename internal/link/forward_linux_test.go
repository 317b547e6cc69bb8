//go:build linux

package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// playForward acts as the ssh of a forward: it listens, and prints OpenSSH's messages.
func playForward(args []string) int {
	log := args[slices.Index(args, "-E")+1]
	say := func(lines ...string) {
		if err := os.WriteFile(log, []byte(strings.Join(lines, "\r\n")+"\r\n"), 0o600); err != nil {
			panic(err)
		}
	}
	if args[len(args)-1] == "denies" {
		say("debug1: Next authentication method: publickey", "ann@denies: Permission denied (publickey).")
		return 255
	}
	local := strings.Split(args[slices.Index(args, "-L")+1], ":")[1]
	named := "debug1: Local forwarding listening on 127.0.0.1 port " + local + "."
	l, err := net.Listen("tcp", "127.0.0.1:"+local)
	if err != nil {
		say(named, "bind [127.0.0.1]:"+local+": Address already in use", "channel_setup_fwd_listener_tcpip: cannot listen to port: "+local)
		time.Sleep(time.Hour)
	}
	pid := filepath.Join(os.Getenv("GUESTS"), "forward-"+args[len(args)-1])
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		panic(err)
	}
	say(named, "debug1: channel 0: new port-listener [port listener] (inactive timeout: 0)", "debug1: Entering interactive session.")
	for {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}
}

// user is a command that has opened a port.
type user struct {
	states chan ForwardState
	err    chan error
	leave  context.CancelFunc
}

func (w *world) forward(name keyway.Name, want ForwardRequest) *user {
	ctx, cancel := context.WithCancel(w.t.Context())
	u := &user{states: make(chan ForwardState, 64), err: make(chan error, 1), leave: cancel}
	go func() {
		u.err <- w.client.Forward(ctx, "gpu1", name, want, func(s ForwardState) { u.states <- s })
	}()
	return u
}

// state returns the next state of the forward.
func (u *user) state(t *testing.T) ForwardState {
	t.Helper()
	select {
	case s := <-u.states:
		return s
	case err := <-u.err:
		t.Fatalf("the forward ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("nothing is said of the forward")
	}
	return ForwardState{}
}

// failure returns why the forward ended by itself.
func (u *user) failure(t *testing.T) error {
	t.Helper()
	select {
	case err := <-u.err:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the forward does not end")
		return nil
	}
}

// end closes the command's connection, and returns when the link has noticed.
func (u *user) end() error {
	u.leave()
	return <-u.err
}

func listensThere(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// anyPort returns a port that no socket has at the moment.
func anyPort(t *testing.T) int {
	t.Helper()
	port, err := strconv.Atoi(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestForwardEndsWithItsLastUser(t *testing.T) {
	w := startWorld(t)
	port := anyPort(t)
	first := w.forward("train", ForwardRequest{Port: port})
	local := first.state(t)
	second := w.forward("train", ForwardRequest{Port: port})
	if s := second.state(t); !local.Up || s != local {
		t.Fatalf("the users have %+v and %+v", local, s)
	}
	if err := first.end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !listensThere(local.Local) {
		t.Error("the forward ended with its first user")
	}
	if err := second.end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if listensThere(local.Local) {
		t.Error("the port is left behind")
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, runPrefix+"*")); len(left) > 0 {
		t.Errorf("files are left behind: %q", left)
	}
	again := w.forward("train", ForwardRequest{Port: port})
	if s := again.state(t); s != local {
		t.Errorf("opened again it is %+v, not %+v", s, local)
	}
	_ = again.end()
}

// TestForwardBesideATakenPort checks that a forward does not use another program's port, and that
// the port in its place is the same every time.
func TestForwardBesideATakenPort(t *testing.T) {
	w := startWorld(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.Addr().(*net.TCPAddr).Port
	var locals []int
	for range 2 {
		u := w.forward("train", ForwardRequest{Port: taken})
		locals = append(locals, u.state(t).Local)
		_ = u.end()
	}
	if locals[0] == taken || locals[0] != locals[1] {
		t.Errorf("instead of %d: %v", taken, locals)
	}
	u := w.forward("train", ForwardRequest{Port: 80, Local: taken})
	if err := u.failure(t); err == nil || !strings.Contains(err.Error(), "another program has port") {
		t.Errorf("%v, want that the port is taken", err)
	}
}

// TestForwardOutlivesItsSSH checks that a forward and its port stay when its ssh dies.
func TestForwardOutlivesItsSSH(t *testing.T) {
	w := startWorld(t)
	u := w.forward("train", ForwardRequest{Port: anyPort(t)})
	up := u.state(t)
	for range 3 {
		pid, err := os.ReadFile(filepath.Join(w.dir, "forward-train"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(pid))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if s := u.state(t); s.Up || s.Local != up.Local || s.Why == "" {
			t.Errorf("without its ssh: %+v", s)
		}
		if s := u.state(t); s != up {
			t.Errorf("afterwards: %+v, want %+v", s, up)
		}
	}
	_ = u.end()
}

// TestForwardEndsWithItsWorkspace checks that a forward ends with a removed workspace, and waits
// for a stopped one, which may start again.
func TestForwardEndsWithItsWorkspace(t *testing.T) {
	w := startWorld(t)
	gone, stays := w.forward("train", ForwardRequest{Port: anyPort(t)}), w.forward("old", ForwardRequest{Port: anyPort(t)})
	local := gone.state(t).Local
	stays.state(t)
	node := w.node("gpu1")
	if err := node.Stop(t.Context(), "train", 0); err != nil {
		t.Fatal(err)
	}
	if !listensThere(local) {
		t.Error("a stop of the workspace has ended its forward")
	}
	if err := node.Remove(t.Context(), "train"); err != nil {
		t.Fatal(err)
	}
	if err := gone.failure(t); !keyway.Is(err, keyway.NotFound) {
		t.Errorf("%v, want that the workspace was removed", err)
	}
	again := w.forward("train", ForwardRequest{Port: anyPort(t)})
	again.state(t)
	if err := node.Purge(t.Context(), "train"); !keyway.Is(err, keyway.NotFound) {
		t.Fatal(err)
	}
	if err := again.failure(t); !keyway.Is(err, keyway.NotFound) {
		t.Errorf("%v, want that the workspace was removed", err)
	}
	if err := stays.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("the forward to another workspace: %v", err)
	}
}

func TestForwardThatCannotBe(t *testing.T) {
	w := startWorld(t)
	for _, test := range []struct {
		name keyway.Name
		want ForwardRequest
		kind keyway.Kind
	}{
		{"denies", ForwardRequest{Port: 8888}, keyway.Denied},
		{"train", ForwardRequest{}, keyway.Usage},
		{"train", ForwardRequest{Port: 65536}, keyway.Usage},
		{"train", ForwardRequest{Port: 1, Local: -1}, keyway.Usage},
		{"../train", ForwardRequest{Port: 1}, keyway.Usage},
		{"train", ForwardRequest{Port: 1, Socket: "/a"}, keyway.Untrusted},
		{"train", ForwardRequest{Socket: "relative"}, keyway.Untrusted},
		{"train", ForwardRequest{Socket: "/a:80"}, keyway.Untrusted},
		{"train", ForwardRequest{Socket: "/${HOME}/%h"}, keyway.Untrusted},
		{"train", ForwardRequest{Socket: "/a b"}, keyway.Untrusted},
		{"train", ForwardRequest{Socket: "/" + strings.Repeat("a", 107)}, keyway.Untrusted},
	} {
		u := w.forward(test.name, test.want)
		if err := u.failure(t); !keyway.Is(err, test.kind) {
			t.Errorf("%s %+v: %v, want %s", test.name, test.want, err, test.kind)
		}
	}
}

// TestForwardEndsWithTheLink checks that the forwards end with the link, and that the end of their
// answers reports this.
func TestForwardEndsWithTheLink(t *testing.T) {
	w := startWorld(t)
	u := w.forward("train", ForwardRequest{Port: anyPort(t)})
	local := u.state(t).Local
	w.end()
	if err := u.failure(t); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want that the link has ended", err)
	}
	if listensThere(local) {
		t.Error("the port outlives the link")
	}
	w.serve()
}

func TestListens(t *testing.T) {
	const named = "debug1: Local forwarding listening on 127.0.0.1 port 8888."
	for _, test := range []struct {
		lines     []string
		up, taken bool
	}{
		{nil, false, false},
		{[]string{named}, false, false},
		{[]string{named, "debug1: channel 0: new [port listener]"}, true, false},
		{[]string{named, "debug1: channel 0: new port-listener [port listener] (inactive timeout: 0)"}, true, false},
		{[]string{named, "bind [127.0.0.1]:8888: Address already in use"}, false, true},
		// Another forward, of the user's configuration, before ours.
		{[]string{"debug1: Local forwarding listening on 127.0.0.1 port 9999.", "debug1: channel 0: new [port listener]", named}, false, false},
		{[]string{"debug1: Local forwarding listening on 127.0.0.1 port 9999.", "bind [127.0.0.1]:9999: Address already in use", named, "debug1: channel 0: new [port listener]"}, true, false},
		{[]string{"debug1: Remote: " + named, "debug1: channel 0: new [port listener]"}, false, false},
	} {
		if up, taken := listens(test.lines, 8888); up != test.up || taken != test.taken {
			t.Errorf("%q: %v, %v", test.lines, up, taken)
		}
	}
}

func TestCandidates(t *testing.T) {
	key := forwardKey{place: "gpu1", name: "train", port: 8888}
	got := key.candidates()
	if got[0] != 8888 || len(got) != localPorts || !slices.Equal(got, key.candidates()) {
		t.Errorf("%v", got)
	}
	for _, p := range (forwardKey{place: "gpu1", name: "train", port: 80}).candidates() {
		if p < firstOwn || p >= lastOwn {
			t.Errorf("port %d is tried for one that only root may have", p)
		}
	}
	socket := forwardKey{place: "gpu1", name: "train", socket: "/run/x.sock"}
	for _, p := range socket.candidates() {
		if p < firstOwn || p >= lastOwn {
			t.Errorf("port %d is tried for a socket", p)
		}
	}
	if to := forwardArgs(socket, 8888, "log", nil); !slices.Contains(to, "127.0.0.1:8888:/run/x.sock") {
		t.Errorf("%q", to)
	}
	if other := (forwardKey{place: "gpu2", name: "train", port: 8888}).candidates(); other[1] == got[1] {
		t.Errorf("two places have the same second choice %d", other[1])
	}
}
