package agentd

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/Microsoft/go-winio"
)

// TestPipe checks that messages arrive over the agent's pipe, and that no other process can take
// its name meanwhile.
func TestPipe(t *testing.T) {
	path := fmt.Sprintf(`%skeyway-test-%d`, pipePrefix, os.Getpid())
	l, err := listenLocally(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if second, err := listenLocally(path); err == nil {
		second.Close()
		t.Error("two listen at one pipe")
	}
	echoed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			echoed <- err
			return
		}
		defer conn.Close()
		_, err = io.CopyN(conn, conn, 5)
		echoed <- err
	}()
	patience := 10 * time.Second
	conn, err := winio.DialPipe(path, &patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello" {
		t.Errorf("%q, %v", answer, err)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
}

func TestPipeAccessIsTheUsersAlone(t *testing.T) {
	if got, want := pipeAccess("S-1-5-21-1"), "D:P(A;;GA;;;S-1-5-21-1)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
