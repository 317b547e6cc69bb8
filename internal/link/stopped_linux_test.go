package link

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// TestARefusedLoginIsLeft checks that a new login replaces one to which an engine has refused
// something, because the engine may allow it to the new one. Streams over the first login continue.
func TestARefusedLoginIsLeft(t *testing.T) {
	w := startWorld(t)
	node := w.node("gpu1")
	first := pid(t, node)
	conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "train", w.guest.hostKey()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn, "before")
	if again := pid(t, node); again != first {
		t.Fatalf("node %d instead of %d before anything is refused", again, first)
	}
	if err := node.Start(context.Background(), "train"); !keyway.Is(err, keyway.EngineForbidden) {
		t.Fatalf("%v", err)
	}
	if again := pid(t, node); again == first {
		t.Error("the node of the login that was refused is asked again")
	}
	echo(t, conn, "after")
}

// TestAStoppedWorkspaceSaysSo checks that the terminals that are connected to a workspace show that
// it was stopped or removed from another window, and nothing else.
func TestAStoppedWorkspaceSaysSo(t *testing.T) {
	w := startWorld(t)
	w.saysAtStop((*api.Client).Stop, "the workspace train was stopped\r\r\n  [start-now gpu1/train]")
	w.saysAtStop((*api.Client).StopFirst, "the workspace train was removed")
}

// saysAtStop checks what a terminal that is connected to a workspace shows when stop ends it.
func (w *world) saysAtStop(stop func(*api.Client, context.Context, keyway.Name, time.Duration) error, says string) {
	t := w.t
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	const late = "\x04" // a read of a terminal is not interrupted; it can be answered
	defer time.AfterFunc(time.Minute, func() { io.WriteString(tty, late) }).Stop()
	node := w.node("gpu1")
	conn, err := w.client.Stream(context.Background(), Guest{"gpu1", "train", w.guest.hostKey()}, tty)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo(t, conn, "before")
	if err := stop(node, context.Background(), "train", 0); err != nil {
		t.Fatal(err)
	}
	said := ""
	for shown := bufio.NewReader(master); err == nil && !strings.HasSuffix(said, says) && !strings.Contains(said, late); {
		var b byte
		b, err = shown.ReadByte()
		said += string(b)
	}
	if want := "\r\r\nkeyway: " + says; err != nil || said != want {
		t.Errorf("it says %q, %v, want %q", said, err, want)
	}
}
