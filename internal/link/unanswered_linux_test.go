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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// playUnanswered acts as a link that accepts connections and never answers.
func playUnanswered(socket string) int {
	if _, err := unixsock.Listen(socket, 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(Ready)
	select {}
}

// unanswered starts such a link, with its socket in a directory.
func unanswered(t *testing.T) (dir string, link *exec.Cmd) {
	t.Helper()
	return playLink(t, "unanswered")
}

// playLink starts this program as a link of a kind.
func playLink(t *testing.T, kind string) (dir string, link *exec.Cmd) {
	t.Helper()
	dir = t.TempDir()
	link = exec.Command(os.Args[0], kind, filepath.Join(dir, SocketName))
	out, err := link.StdoutPipe()
	if err == nil {
		err = link.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = link.Process.Kill()
		_ = link.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != Ready {
		t.Fatalf("%q %v", line, err)
	}
	return dir, link
}

// killed fails the test if the link did not end by SIGKILL.
func killed(t *testing.T, link *exec.Cmd) {
	t.Helper()
	var exit *exec.ExitError
	if err := link.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the link ended with %v", err)
	}
}

// TestAStoppedLinkIsNamed checks that a command that needs a stopped link names the stopped process
// and the next step. The kernel accepts connections for a stopped link.
func TestAStoppedLinkIsNamed(t *testing.T) {
	dir, link := unanswered(t)
	freeze(t, link.Process.Pid)
	silent := func(p keyway.Progress) { t.Errorf("it says %q first", p.Message) }
	ctx := context.Background()
	_, running := Running(ctx, dir, silent)
	_, open := Open(ctx, dir, "/bin/false", filepath.Join(dir, "log"), silent)
	for _, err := range []error{running, open} {
		var e *keyway.Error
		if !Unanswered(err) || !errors.As(err, &e) || !strings.Contains(e.Message, strconv.Itoa(link.Process.Pid)) {
			t.Fatalf("%v", err)
		}
		if !slices.ContainsFunc(e.Advice, func(a keyway.Advice) bool {
			return a.Step == keyway.ContinueLink && slices.Equal(a.About, []string{strconv.Itoa(link.Process.Pid)})
		}) {
			t.Errorf("%+v", e.Advice)
		}
	}
	if ran, err := End(ctx, dir, silent); !ran || err != nil {
		t.Fatal(ran, err)
	}
	killed(t, link)
	if ran, err := End(ctx, dir, silent); ran || err != nil {
		t.Errorf("there is no link any more: %v %v", ran, err)
	}
}

// playHalf is a link that answers, begins to answer, or does neither.
func playHalf(socket string) int {
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(Ready)
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/status":
			_, _ = io.WriteString(w, "{}")
		case strings.Contains(r.URL.Path, "/begun/"):
			_ = http.NewResponseController(w).Flush()
			fallthrough
		default:
			<-r.Context().Done()
		}
	}))
	return 0
}

// TestALinkThatIsStoppedMeanwhileIsNamed checks that the error also names a link that is stopped in
// the middle of a command, whatever the command waits for.
func TestALinkThatIsStoppedMeanwhileIsNamed(t *testing.T) {
	dir, link := playLink(t, "half")
	c, err := Running(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.rt.CloseIdleConnections()
	c.look = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	waits := map[string]func() error{
		"an answer":   func() error { _, err := c.Place(ctx, "silent", nil, nil); return err },
		"more of one": func() error { _, err := c.Place(ctx, "begun", nil, nil); return err },
		"a stream":    func() error { _, err := c.Stream(ctx, Guest{"silent", "train", "ssh-ed25519 AAAA"}, nil); return err },
		"a second place": func() error {
			_, err := api.NewClient(untilStopped{c}, "http://link/v1/places/x").List(ctx)
			return err
		},
	}
	errs := make(chan error, len(waits))
	for what, wait := range waits {
		go func() { // received below
			err := wait()
			if !Unanswered(err) || !strings.Contains(err.Error(), strconv.Itoa(link.Process.Pid)) {
				err = fmt.Errorf("who waits for %s hears %w", what, err)
			} else {
				err = nil
			}
			errs <- err
		}()
	}
	select { // while the link runs, they wait
	case err := <-errs:
		t.Fatal(err)
	case <-time.After(500 * time.Millisecond):
	}
	freeze(t, link.Process.Pid)
	for range waits {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestALinkThatNeverAnswersIsEnded checks that a command reports a link that never answers, and
// gives it up.
func TestALinkThatNeverAnswersIsEnded(t *testing.T) {
	dir, link := unanswered(t)
	var news []string
	if ran, err := End(context.Background(), dir, func(p keyway.Progress) { news = append(news, p.Message) }); !ran || err != nil {
		t.Fatal(ran, err)
	}
	killed(t, link)
	if len(news) != 1 {
		t.Errorf("it says %q", news)
	}
}

// lateListener accepts no connection before it is released.
type lateListener struct {
	net.Listener
	let <-chan struct{}
}

func (l lateListener) Accept() (net.Conn, error) {
	<-l.let
	return l.Listener.Accept()
}

// TestASlowLinkIsWaitedFor checks that a command waits for a link that answers late.
func TestASlowLinkIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, SocketName)
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	let := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = Serve(ctx, lateListener{l, let}, Config{Socket: socket, Identity: "late", Log: slog.New(slog.DiscardHandler), Next: stepsOf})
	})
	defer serving.Wait()
	defer stop()
	reported := 0
	c, err := Running(context.Background(), dir, func(keyway.Progress) {
		reported++
		close(let)
	})
	if err != nil || reported != 1 {
		t.Errorf("reported %d times, %v", reported, err)
	}
	c.rt.CloseIdleConnections()
}
