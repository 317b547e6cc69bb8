package audit

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

//go:embed testdata/recorded/audit.jsonl
var recorded []byte

// TestRecordedLog checks that a log of an earlier version still verifies, and reads as it did.
func TestRecordedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl") // with room for a lock beside it
	if err := os.WriteFile(path, recorded, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(path)
	if err != nil || r.Events != 8 || r.Hash != "fe1bee9ad32a997e0db4819ee618d27e0d519825ae93e901bbaf0b3fc5e56972" {
		t.Errorf("%+v, %v", r, err)
	}
	var again bytes.Buffer
	var events []Event
	err = Read(path, func(e Event) error {
		events = append(events, e)
		line, err := json.Marshal(e)
		again.Write(append(line, '\n'))
		return err
	})
	if err != nil || !bytes.Equal(again.Bytes(), recorded) {
		t.Errorf("%v: it is written as\n%s", err, again.Bytes())
	}
	if e := events[4]; e.Event != Sign || e.Verdict != Allowed || e.To != "github.com" || e.From != "train" || e.Via != "lab" || !e.Remote || e.UID != 1000 {
		t.Errorf("%+v", e)
	}
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Append(Event{Event: Start}); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(path); err != nil || r.Events != 9 {
		t.Errorf("with a line of this version: %+v, %v", r, err)
	}
}
