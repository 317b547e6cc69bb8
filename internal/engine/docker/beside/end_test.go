package beside

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// fake is a daemon with one container, in which programs answer as a test says.
type fake struct {
	running bool                                 // its answer about the guest's process
	full    bool                                 // the disk is full
	hangs   string                               // requests whose path ends so are not answered
	says    map[string]func(net.Conn, io.Writer) // by the guest program's command; its stderr

	mu   sync.Mutex
	asks []string // commands of which a process was made
}

const (
	refused = keyway.GuestProgram + ": the guest does not answer: dial unix /.keyway/guest.sock: connect: connection refused\n"
	absent  = keyway.GuestProgram + ": the guest does not answer: dial unix /.keyway/guest.sock: connect: no such file or directory\n"
)

func word(said string) func(net.Conn, io.Writer) {
	return func(_ net.Conn, stderr io.Writer) { _, _ = io.WriteString(stderr, said) }
}

// alive sends a greeting, as a running guest does.
func alive(conn net.Conn, _ io.Writer) {
	if _, err := conn.Read(make([]byte, 64)); err == nil {
		_, _ = conn.Write(frame(1, "SSH-2.0-keyway\r\n"))
	}
}

func frame(stream byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(text))), text...)
}

type stderrOf struct{ net.Conn }

func (s stderrOf) Write(p []byte) (int, error) { return s.Conn.Write(frame(2, string(p))) }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	switch {
	case f.hangs != "" && strings.HasSuffix(path, f.hangs):
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection is not noticed
		<-r.Context().Done()
	case path == "_ping":
		w.Header().Set("Api-Version", "1.44")
	case r.Method == http.MethodHead: // no guest is left at its path
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet && path == "exec/first/json":
		_ = json.NewEncoder(w).Encode(map[string]any{"ID": "first", "ContainerID": anID, "Running": f.running})
	case f.full:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"mkdir /run/x: no space left on device"}`)
	case strings.HasSuffix(path, "/archive"):
	case strings.HasSuffix(path, "/exec"):
		var asked struct{ Cmd []string }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		f.mu.Lock()
		f.asks = append(f.asks, asked.Cmd[1])
		f.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"`+asked.Cmd[1]+`"}`)
	case strings.HasSuffix(path, "/start"):
		f.start(w, r, strings.Split(path, "/")[1])
	default:
		http.Error(w, `{"message":"no such thing"}`, http.StatusNotFound)
	}
}

func (f *fake) start(w http.ResponseWriter, r *http.Request, command string) {
	_, _ = io.Copy(io.Discard, r.Body) // unread input would reset the connection
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	if says := f.says[command]; says != nil {
		says(conn, stderrOf{conn})
	}
}

// guestsOf returns the guests at a daemon, whose workspace has that specification.
func guestsOf(t *testing.T, d http.Handler, spec keyway.Spec) *Guests {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	c, err := daemon.New(daemon.Options{Host: "tcp://" + server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	g := &Guests{Client: c, Homes: engine.HomesIn(t.TempDir()), Guest: engine.Guest{Dir: t.TempDir()}, Owner: "1000"}
	if _, err := g.Homes.Make(spec, g.Guest); err != nil {
		t.Fatal(err)
	}
	return g
}

func (f *fake) guests(t *testing.T) (*Guests, engine.Record) {
	t.Helper()
	g := guestsOf(t, f, keyway.Spec{Name: "web", Engine: "docker"})
	rec, err := g.Homes.Record("web")
	if err != nil {
		t.Fatal(err)
	}
	rec.Container, rec.Exec = anID, "first"
	return g, rec
}

// TestOnlyTheGuestTellsItsEnd checks a daemon that has forgotten the guest's process, as Podman
// soon does: then the container's answer decides.
func TestOnlyTheGuestTellsItsEnd(t *testing.T) {
	for what, c := range map[string]struct {
		f            *fake
		ended, doubt bool
	}{
		"a process that runs":       {f: &fake{running: true, says: map[string]func(net.Conn, io.Writer){"dial": word(refused)}}},
		"a guest that greets":       {f: &fake{says: map[string]func(net.Conn, io.Writer){"dial": alive}}},
		"nobody listens":            {f: &fake{says: map[string]func(net.Conn, io.Writer){"dial": word(refused)}}, ended: true},
		"no socket":                 {f: &fake{says: map[string]func(net.Conn, io.Writer){"dial": word(absent)}}, ended: true},
		"no program":                {f: &fake{says: map[string]func(net.Conn, io.Writer){"dial": word("exec: keyway-guest: no such file or directory")}}, doubt: true},
		"another program, silent":   {f: &fake{}, doubt: true},
		"no leave to reach it":      {f: &fake{says: map[string]func(net.Conn, io.Writer){"dial": word(strings.ReplaceAll(refused, "connection refused", "permission denied"))}}, doubt: true},
		"no space to start a thing": {f: &fake{full: true}, doubt: true},
	} {
		t.Run(what, func(t *testing.T) {
			g, rec := c.f.guests(t)
			ended, doubt := g.Ended(context.Background(), rec)
			if ended != c.ended || (doubt != nil) != c.doubt {
				t.Errorf("ended %v, %v", ended, doubt)
			}
		})
	}
}

// TestNothingEndsOnDoubt checks that a guest that may still run is neither reported as ended nor
// forgotten.
func TestNothingEndsOnDoubt(t *testing.T) {
	up := &container.State{Running: true}
	for what, c := range map[string]struct {
		f    *fake
		kind keyway.Kind // empty: no guest can be running
	}{
		"halted":          {&fake{says: map[string]func(net.Conn, io.Writer){"dial": word(refused)}}, ""},
		"no space":        {&fake{full: true}, keyway.NoSpace},
		"another program": {&fake{}, keyway.GuestFailed}, // it does nothing, and says so
		"halt fails":      {&fake{says: map[string]func(net.Conn, io.Writer){"halt": word("no"), "dial": alive}}, keyway.GuestFailed},
	} {
		t.Run(what, func(t *testing.T) {
			g, rec := c.f.guests(t)
			for verb, err := range map[string]error{
				"stop": g.Stop(context.Background(), rec, "web", up, 0), "rm": g.Remove(context.Background(), rec, "web", up),
			} {
				if c.kind == "" && err != nil {
					t.Errorf("%s: %v", verb, err)
				}
				if e := keyway.AsError(err); c.kind != "" && (err == nil || e.Kind != c.kind || e.Help() == "") {
					t.Errorf("%s: %v", verb, err)
				}
			}
			left, err := g.Homes.Names()
			if err != nil || len(left) != 0 && c.kind == "" || len(left) != 1 && c.kind != "" {
				t.Errorf("known afterwards: %v, %v", left, err)
			}
		})
	}
}

// TestWaitingIsBounded replaces the guest by a program that ends at once, and by one that never
// ends. It checks that the first is not started in a loop, and that the wait for the second is
// bounded.
func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	g, rec := f.guests(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := g.in(rec).Await(ctx, func(context.Context) error { return nil }); err == nil {
		t.Error("it has no guest, and serves")
	}
	if n := len(f.asks); n > 8 {
		t.Errorf("%d processes in a second", n)
	}
	hang := func(conn net.Conn, _ io.Writer) { _, _ = io.Copy(io.Discard, conn) }
	g, rec = (&fake{says: map[string]func(net.Conn, io.Writer){"info": hang}}).guests(t)
	ended := errors.New("ended")
	if _, err := g.in(rec).Await(context.Background(), func(context.Context) error { return ended }); !errors.Is(err, ended) {
		t.Error(err)
	}
}

// TestHangIsSaid checks the error for a daemon that does not answer requests about the container,
// whose file system or runtime hangs.
func TestHangIsSaid(t *testing.T) {
	defer func(was time.Duration) { reach = was }(reach)
	reach = 50 * time.Millisecond
	for _, what := range []string{"/archive", "/exec", "/start", "/" + anID + "/json"} {
		t.Run(what, func(t *testing.T) {
			g, rec := (&fake{hangs: what}).guests(t)
			tries := map[string]func() error{
				"serve": func() error { _, err := g.Serve(t.Context(), rec, "web"); return err },
				"claim": func() error { _, _, err := g.Claim(t.Context(), anID); return err },
				"find":  func() error { _, err := g.Inspect(t.Context(), anID); return err },
			}
			if strings.HasSuffix(what, "json") {
				delete(tries, "serve") // it has been inspected already
			} else {
				delete(tries, "claim") // this daemon does not know it
				delete(tries, "find")
			}
			for verb, try := range tries {
				done := make(chan error, 1)
				go func() { done <- try() }()
				select {
				case err := <-done:
					if e := keyway.AsError(err); err == nil || e.Kind != keyway.GuestFailed || !strings.Contains(e.Message, "does not get through") || e.Help() == "" {
						t.Errorf("%s: %v", verb, err)
					}
				case <-time.After(time.Minute):
					t.Fatalf("%s does not end", verb)
				}
			}
		})
	}
}

// TestNoSpaceIsSaid checks that a start without space reports that, and how to get some.
func TestNoSpaceIsSaid(t *testing.T) {
	g, rec := (&fake{full: true}).guests(t)
	err := g.Start(context.Background(), rec, "web", &container.State{Running: true})
	if e := keyway.AsError(err); err == nil || e.Kind != keyway.NoSpace || e.Help() == "" {
		t.Error(err)
	}
}
