package link

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestNewsDoNotWait checks that a long text is cut to a length that the link can write without
// waiting for a reader, and that it still ends its line.
func TestNewsDoNotWait(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetReadDeadline(time.Now().Add(time.Minute))
	go func() {
		descriptor(w.Fd()).write(strings.Repeat("é", 1<<19) + "\n")
		w.Close()
	}()
	text, err := io.ReadAll(r)
	if err != nil || len(text) < 4000 || len(text) > 4096 || !utf8.Valid(text) || !strings.HasSuffix(string(text), "é\n") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
