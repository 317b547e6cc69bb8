package link

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/unixsock"
)

// byPipes acts as an ssh with a pipe for each direction, which its proxy command hands over.
func (w *world) byPipes(name keyway.Name) net.Conn {
	w.t.Helper()
	w.node("gpu1")
	conn, in, out := pipePair(w.t)
	defer in.Close()
	defer out.Close()
	if err := w.client.Proxy(context.Background(), Guest{"gpu1", name, w.guest.hostKey()}, nil, in, out); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// pipePair returns an ssh's side of its pipes, and its proxy command's.
func pipePair(t *testing.T) (conn net.Conn, in, out *os.File) {
	t.Helper()
	proxyIn, sshOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sshIn, proxyOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	conn = &pipe.Pair{In: sshIn, Out: sshOut}
	t.Cleanup(func() { conn.Close() })
	return conn, proxyIn, proxyOut
}

// clients returns each way in which an ssh can be connected to the link.
func (w *world) clients() map[string]func(keyway.Name) net.Conn {
	return map[string]func(keyway.Name) net.Conn{"a socket": w.ssh, "pipes": w.byPipes}
}

// TestAnSSHWithPipesHearsWhy checks that an ssh with pipes, too, is told why there is no
// connection.
func TestAnSSHWithPipesHearsWhy(t *testing.T) {
	w := startWorld(t)
	conn := w.byPipes("other")
	fmt.Fprint(conn, "SSH-2.0-test\r\n")
	said, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(said), "the workspace other is not there") {
		t.Errorf("%q, %v", said, err)
	}
}

// TestAnSSHWithPipesSaysWhy checks that the reason for which there is no connection is on the ssh's
// standard error, with nothing for ssh to print itself but that the connection was closed. It also
// checks that the link closes this standard error as soon as the guest has answered.
func TestAnSSHWithPipesSaysWhy(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	for name, want := range map[keyway.Name]string{
		"other": "keyway: the workspace other is not there; gpu1 says: “there is no workspace other”\n  [list-workspaces]\n",
		"train": "",
	} {
		conn, in, out := pipePair(t)
		errors, news, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer errors.Close()
		err = w.client.Proxy(t.Context(), Guest{"gpu1", name, w.guest.hostKey()}, news, in, out)
		news.Close()
		in.Close()
		out.Close()
		if err != nil {
			t.Fatal(err)
		}
		errors.SetReadDeadline(time.Now().Add(time.Minute))
		if want == "" {
			echo(t, conn, "answered")
		} else {
			fmt.Fprint(conn, "SSH-2.0-test\r\n")
		}
		if said, err := io.ReadAll(errors); err != nil || string(said) != want {
			t.Errorf("%s: standard error has %q, %v, want %q", name, said, err, want)
		}
		if want == "" {
			echo(t, conn, "goes on")
			continue
		}
		conn.(*pipe.Pair).Out.Close()
		if said, err := io.ReadAll(conn); err != nil || string(said) != identification {
			t.Errorf("%s: ssh is sent %q, %v", name, said, err)
		}
	}
}

// TestTheEndOfAnSSHIsNoticed checks that the link stops proxying an ssh that has ended, whether it
// had a socket or pipes.
func TestTheEndOfAnSSHIsNoticed(t *testing.T) {
	w := startWorld(t)
	for name, open := range w.clients() {
		conn := open("train")
		echo(t, conn, name)
		conn.Close()
		w.noStream()
	}
}

// TestOnlyPipesAreTakenOver checks that the link takes over pipes only: a file has no deadlines,
// and a terminal is the user's.
func TestOnlyPipesAreTakenOver(t *testing.T) {
	w := startWorld(t)
	w.node("gpu1")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	conn, in, out := pipePair(t)
	if err := w.client.Proxy(context.Background(), Guest{"gpu1", "train", w.guest.hostKey()}, nil, null, out); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	if said, err := io.ReadAll(conn); err != nil || len(said) > 0 {
		t.Errorf("%q, %v", said, err)
	}
	w.noStream()
}

// TestAnOlderLinkRefusesPipes checks that a caller notices that a link of an earlier version does
// not support pipes, and requests a socket.
func TestAnOlderLinkRefusesPipes(t *testing.T) {
	socket := filepath.Join(t.TempDir(), SocketName)
	l, err := unixsock.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	older := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != streamProtocol {
			api.WriteError(w, keyway.Errorf(keyway.VersionMismatch, "a stream begins with Upgrade: %s", streamProtocol))
		}
	})}
	go older.Serve(l)
	defer older.Close()
	_, in, out := pipePair(t)
	defer in.Close()
	defer out.Close()
	c := &Client{socket: socket}
	if err := c.Proxy(t.Context(), Guest{"gpu1", "train", ""}, nil, in, out); !keyway.Is(err, keyway.VersionMismatch) {
		t.Errorf("got %v", err)
	}
}
