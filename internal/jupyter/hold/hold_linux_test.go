package hold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/feed"
	"keyway/internal/jupyter/hold"
	"keyway/internal/jupyter/journal"
)

const patience = time.Minute

// start starts another program, with its files in dir.
func start(t *testing.T, k *hold.Keeper, dir string) *hold.Lines {
	t.Helper()
	f, err := k.Start()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := hold.Inherit(f, dir)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// server is a websocket's server that sends messages and records the messages that it receives.
type server struct {
	socket string
	mu     sync.Mutex
	got    []string
	more   *sync.Cond
}

// serve sends the messages to its first client, each in one frame or in fragments with pings
// between them.
func serve(t *testing.T, network string, rng *rand.Rand, messages []string) *server {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{socket: l.Addr().String()}
	s.more = sync.NewCond(&s.mu)
	ctx, cancel := context.WithCancel(context.Background())
	var served, done sync.WaitGroup
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		defer served.Done()
		up := websocket.Upgrader{}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		var sender sync.WaitGroup
		sender.Go(func() { sendAll(t, c, rng, messages) })
		for {
			_, data, err := c.ReadMessage()
			if err != nil {
				break
			}
			s.mu.Lock()
			s.got = append(s.got, string(data))
			s.more.Broadcast()
			s.mu.Unlock()
		}
		_ = c.Close()
		sender.Wait()
	})}
	done.Go(func() { _ = web.Serve(l) })
	t.Cleanup(func() { _ = web.Close(); done.Wait(); cancel(); served.Wait() })
	return s
}

func sendAll(t *testing.T, c *websocket.Conn, rng *rand.Rand, messages []string) {
	for _, m := range messages {
		var err error
		switch rng.IntN(4) {
		case 0:
			err = c.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(patience))
			if err == nil {
				err = c.WriteMessage(websocket.BinaryMessage, []byte(m)) // the library fragments a large message
			}
		default:
			var whole *websocket.PreparedMessage
			if whole, err = websocket.NewPreparedMessage(websocket.BinaryMessage, []byte(m)); err == nil {
				err = c.WritePreparedMessage(whole)
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// disk is the state that programs leave, beside the connection.
type disk struct {
	got  []string
	mark journal.Mark
}

// program is one run of the program that reads.
type program struct {
	lines *hold.Lines
	feed  *feed.Feed
	line  *hold.Line
	conn  *websocket.Conn
	again bool
}

func (p *program) connect(t *testing.T, network, address string, d *disk) {
	t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) {
		if l := p.lines.Take("kernel"); l != nil {
			f, err := feed.Resume(l)
			p.feed, p.line = f, l
			return f, err
		}
		c, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		p.feed, err = feed.New(c, false)
		return p.feed, err
	}}
	var err error
	if p.conn, _, err = dialer.Dial("ws://localhost/", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.feed.Hold(func(c net.Conn) (l *hold.Line, err error) {
		p.line, err = p.lines.Hold("kernel", "", c)
		return p.line, err
	}); err != nil {
		t.Fatal(err)
	}
	if _, resumed := p.feed.Sent(); resumed {
		if p.again, err = p.feed.Known([]journal.Mark{d.mark}); err != nil {
			t.Fatal(err)
		}
	}
}

var errKilled = errors.New("killed")

// live reads messages and writes them to disk until die reports true or all messages are read.
func (p *program) live(d *disk, all int, die func() bool) error {
	for len(d.got) < all {
		if die() {
			_, _ = p.feed.Read(make([]byte, 3)) // in the middle of a message
			return errKilled
		}
		var batch []string
		for {
			_, data, err := p.conn.ReadMessage()
			if err != nil {
				return err
			}
			if batch = append(batch, string(data)); !p.feed.More() {
				break
			}
			if die() {
				return errKilled
			}
		}
		mark, err := p.feed.Mark()
		if err != nil {
			return err
		}
		if !p.again {
			d.got, d.mark = append(d.got, batch...), mark
		} else if mark != d.mark {
			return fmt.Errorf("the first messages have the mark %v, not %v", mark, d.mark)
		}
		p.again = false
		if die() {
			return errKilled
		}
		if err := p.feed.Taken(); err != nil {
			return err
		}
	}
	return nil
}

// abandon leaves everything as a killed program does.
func (p *program) abandon() {
	p.line.Abandon()
	p.lines.Abandon()
}

// TestKilledAnywhere kills the program at every moment. It checks that the programs together have
// written all messages of the server once, and that the server has received each request once.
func TestKilledAnywhere(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(network, seed), func(t *testing.T) { killedAnywhere(t, network, seed) })
		}
	}
}

func killedAnywhere(t *testing.T, network string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var messages, requests []string
	for i := range 150 {
		size := rng.IntN(300)
		if i%4 == 0 {
			size = rng.IntN(200 << 10)
		}
		messages = append(messages, fmt.Sprint(i, ":")+strings.Repeat("x", size))
	}
	s := serve(t, network, rand.New(rand.NewPCG(seed, 2)), messages)
	var keeper hold.Keeper
	defer keeper.Close()
	d := &disk{}
	lives := 0
	for err := errKilled; errors.Is(err, errKilled); lives++ {
		p := &program{lines: start(t, &keeper, t.TempDir())}
		p.connect(t, network, s.socket, d)
		request := fmt.Sprint("request ", lives, " ") + strings.Repeat("y", rng.IntN(20_000))
		p.feed.Sending(fmt.Sprint(lives))
		if sendErr := p.conn.WriteMessage(websocket.TextMessage, []byte(request)); sendErr != nil {
			t.Fatal(sendErr)
		}
		requests = append(requests, request)
		if err = p.live(d, len(messages), func() bool { return rng.IntN(12) == 0 }); err != nil && !errors.Is(err, errKilled) {
			t.Fatalf("in life %d, after %d messages: %v", lives, len(d.got), err)
		}
		p.abandon()
		keeper.Ended()
	}
	if !slices.Equal(d.got, messages) {
		t.Errorf("%d lives have written down %d messages of %d", lives, len(d.got), len(messages))
		for i, m := range d.got {
			if i >= len(messages) || m != messages[i] {
				t.Fatalf("first wrong: message %d is %.20q", i, m)
			}
		}
	}
	if lives < 5 {
		t.Errorf("only %d lives", lives)
	}
	timer := time.AfterFunc(patience, func() { t.Error("the server has not got all"); s.more.Broadcast() })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.got) < len(requests) && !t.Failed() {
		s.more.Wait()
	}
	if !slices.Equal(s.got, requests) {
		t.Errorf("the server got %d requests of %d", len(s.got), len(requests))
	}
}

// waitEmpty waits until the operating system's buffer of a connection is empty.
func waitEmpty(t *testing.T, c syscall.Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left := 0
		if ctlErr := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); ctlErr != nil || err != nil || time.Now().After(late) {
			t.Fatalf("%d bytes are left: %v, %v", left, err, ctlErr)
		}
		if left == 0 {
			return
		}
	}
}

// TestKilledUnderALargeMessage kills the program while its parent waits for the rest of a message.
// It checks that the next program continues there, also if the disk is full or becomes full.
func TestKilledUnderALargeMessage(t *testing.T) {
	for name, room := range map[string]int{"an empty disk": 1 << 20, "a full disk": 0, "a disk that fills at once": 20_000, "a disk that fills at last": 70_000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 2<<20-room), 0o600); err != nil {
				t.Fatal(err)
			}
			killedUnderALargeMessage(t, dir)
		})
	}
}

func killedUnderALargeMessage(t *testing.T, dir string) {
	client, server := connected(t)
	var keeper hold.Keeper
	defer keeper.Close()
	lines := start(t, &keeper, dir)
	f, err := feed.New(client, true)
	if err != nil {
		t.Fatal(err)
	}
	line, err := lines.Hold("kernel", "", client)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Hold(func(net.Conn) (*hold.Line, error) { return line, nil }); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("0123456789"), 10_000)
	frame := append([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0}, payload...)
	if _, err := server.Write(frame[:len(frame)/2]); err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, err := io.ReadFull(f, make([]byte, len(frame))); err == nil {
			t.Error("half a message is whole")
		}
	})
	waitEmpty(t, line)
	line.Abandon()
	lines.Abandon()
	reader.Wait()
	keeper.Ended()
	if _, err := server.Write(frame[len(frame)/2:]); err != nil {
		t.Fatal(err)
	}
	lines = start(t, &keeper, dir)
	line = lines.Take("kernel")
	if line == nil || line.Spilled() == 0 {
		t.Fatalf("what was read is not held: %+v", line)
	}
	if f, err = feed.Resume(line); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, frame) {
		t.Errorf("%v, the same: %v", err, bytes.Equal(got, frame))
	}
	if err := f.Taken(); err != nil || line.Spilled() != 0 {
		t.Errorf("%v; %d bytes stay", err, line.Spilled())
	}
	_ = f.Close()
	lines.Abandon()
	keeper.Ended()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("closed by the program, the connection is still open: %v", err)
	}
}
